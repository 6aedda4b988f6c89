//! [`PoolArgs`]: the flags that say which ports of the sources are used, in which order, and which part of them by this process.
//!
//! It must never know what comes from there: connections and frames take their tuples alike.

use workload::pools::{PortRange, Shard, TupleOrder};

use crate::units;

/// The tuples of the sources.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PoolArgs {
    /// Source ports [default: 1024-65535]
    #[arg(long, value_name = "PORT-PORT", value_delimiter = ',', value_parser = port_range)]
    source_ports: Vec<PortRange>,

    /// The order in which tuples of source and target are used [default: permuted]
    #[arg(long, value_enum)]
    order: Option<OrderName>,

    /// Seed of the permuted order; all shards need the same [default: 1]
    #[arg(long, value_name = "N", value_parser = units::count)]
    seed: Option<u64>,

    /// Use part K of N of the tuples; N runs with the same sources, targets and seed share no tuple and use them all [default: 1/1]
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
}

/// In which order tuples are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OrderName {
    /// Spread over all of them by a permutation
    Permuted,
    /// As they are numbered: targets change fastest, then ports, then addresses
    Sequential,
}

impl PoolArgs {
    /// The ports of each source address.
    pub(crate) fn ports(&self) -> &[PortRange] {
        if self.source_ports.is_empty() {
            &[PortRange::UNPRIVILEGED]
        } else {
            &self.source_ports
        }
    }

    /// The order, by name.
    pub(crate) fn order_name(&self) -> OrderName {
        self.order.unwrap_or(OrderName::Permuted)
    }

    /// The order.
    pub(crate) fn order(&self) -> TupleOrder {
        match self.order_name() {
            OrderName::Permuted => TupleOrder::Permuted {
                key: self.seed.unwrap_or(1),
            },
            OrderName::Sequential => TupleOrder::Sequential,
        }
    }

    /// The part of this process.
    pub(crate) fn shard(&self) -> Shard {
        self.shard.unwrap_or(Shard::WHOLE)
    }

    /// Whether any of the flags was given.
    pub(crate) fn is_given(&self) -> bool {
        !self.source_ports.is_empty()
            || self.order.is_some()
            || self.seed.is_some()
            || self.shard.is_some()
    }
}

/// `80` or `1024-65535`.
///
/// # Errors
/// One line that says what a right one looks like.
pub(crate) fn port_range(text: &str) -> Result<PortRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(PortRange { first, last }),
        _ => Err(format!(
            "`{text}` is not a port: expected one such as 80 or a range such as 1024-65535"
        )),
    }
}
