//! [`Backends`]: the servers that answered, by the value of a header of the responses: connections and responses of each.
//!
//! It must never hold more names than it has places; what comes beyond is counted together.

/// Names at most.
const NAMES_MAX: usize = 256;
/// Bytes of a name at most; a longer one is cut.
const NAME_MAX: usize = 128;

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backend {
    /// The value of the header; `None` where a response had none.
    pub name: Option<Box<[u8]>>,
    /// Connections whose first response was its own.
    pub connections: u64,
    /// Responses.
    pub responses: u64,
}

/// All servers that answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backends {
    all: Vec<Backend>,
    /// Those that found no place for their names.
    others: Backend,
}

impl Backends {
    /// A response with this value of the header.
    pub(super) fn note(&mut self, name: Option<&[u8]>, is_first: bool) {
        let name = name.map(|name| &name[..name.len().min(NAME_MAX)]);
        let backend = self.of(name);
        backend.responses += 1;
        backend.connections += u64::from(is_first);
    }

    fn of(&mut self, name: Option<&[u8]>) -> &mut Backend {
        let found = self
            .all
            .iter()
            .position(|backend| backend.name.as_deref() == name);
        match found {
            Some(at) => &mut self.all[at],
            None if self.all.len() < NAMES_MAX => {
                self.all.push(Backend {
                    name: name.map(Into::into),
                    ..Backend::default()
                });
                let last = self.all.len() - 1;
                &mut self.all[last]
            }
            None => &mut self.others,
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.all {
            let mine = self.of(theirs.name.as_deref());
            mine.connections += theirs.connections;
            mine.responses += theirs.responses;
        }
        self.others.connections += other.others.connections;
        self.others.responses += other.others.responses;
    }

    /// The servers, in the order of their first response.
    #[must_use]
    pub fn all(&self) -> &[Backend] {
        &self.all
    }

    /// Those that found no place for their names, together.
    #[must_use]
    pub fn others(&self) -> &Backend {
        &self.others
    }
}

/// The value of a header in the head of a response; the first one where there are several.
pub(super) fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = head.split(|&byte| byte == b'\n').skip(1);
    lines.find_map(|line| {
        let at = line.iter().position(|&byte| byte == b':')?;
        let (found, value) = line.split_at(at);
        found
            .eq_ignore_ascii_case(name)
            .then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answered_is_counted_by_name() {
        let mut backends = Backends::default();
        for (name, is_first) in [("a", true), ("a", false), ("b", true)] {
            backends.note(Some(name.as_bytes()), is_first);
        }
        backends.note(None, true);
        let mut all = Backends::default();
        all.merge(&backends);
        all.merge(&backends);
        let counts: Vec<_> = all
            .all()
            .iter()
            .map(|b| (b.connections, b.responses))
            .collect();
        assert_eq!(counts, [(2, 4), (2, 2), (2, 2)]);
        for n in 0..2 * NAMES_MAX {
            all.note(Some(n.to_string().as_bytes()), false);
        }
        assert_eq!(all.all().len(), NAMES_MAX);
        assert_eq!(all.others().responses as usize, NAMES_MAX + 3);
    }

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let head = b"HTTP/1.1 200 OK\r\nServer: a\r\nx-backend:  b c \r\nX-Backend: d\r\n\r\n";
        assert_eq!(header(head, b"X-Backend"), Some(&b"b c"[..]));
        assert_eq!(header(head, b"server"), Some(&b"a"[..]));
        assert_eq!(header(head, b"via"), None);
    }
}
