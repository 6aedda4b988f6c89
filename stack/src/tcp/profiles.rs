//! [`Profiles`]: the profiles of one worker by number, each with the settings that its connections go by.
//!
//! It must never forget a profile: records name them by number.

use super::profile::{Profile, ProfileError, ProfileId};
use super::settings::Settings;

/// Settings by profile. They differ in [`Settings::profile`] only.
#[derive(Debug, Clone)]
pub struct Profiles {
    /// Those of [`ProfileId::DEFAULT`].
    default: Settings,
    /// Those of all other numbers, from 1 on.
    others: Vec<Settings>,
}

impl Profiles {
    /// The profile of these settings, and others with the numbers from 1 on.
    ///
    /// # Errors
    /// [`ProfileError`] of the first that can't be used.
    pub fn new(default: Settings, others: &[Profile]) -> Result<Self, ProfileError> {
        let mut profiles = Self {
            default,
            others: Vec::new(),
        };
        for profile in others {
            profiles.add(*profile)?;
        }
        Ok(profiles)
    }

    fn add(&mut self, profile: Profile) -> Result<ProfileId, ProfileError> {
        profile.validate(self.default.mss_min)?;
        let number = u8::try_from(self.others.len() + 1).map_err(|_| ProfileError::TooMany)?;
        self.others.push(Settings {
            profile,
            ..self.default.clone()
        });
        Ok(ProfileId(number))
    }

    /// The number of a profile, old or new.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn intern(&mut self, profile: Profile) -> Result<ProfileId, ProfileError> {
        if profile == self.default.profile {
            return Ok(ProfileId::DEFAULT);
        }
        match self
            .others
            .iter()
            .position(|other| other.profile == profile)
        {
            // No more than numbers for them.
            //~ Equal profiles share a number: -> `Some(_) => self.add(profile),`;
            //~   equal_profiles_share_a_number_and_all_else_stays
            Some(index) => Ok(ProfileId(index as u8 + 1)),
            None => self.add(profile),
        }
    }

    /// The settings of a profile.
    #[must_use]
    #[inline]
    pub fn get(&self, id: ProfileId) -> &Settings {
        if id == ProfileId::DEFAULT {
            return &self.default;
        }
        let other = self.others.get(usize::from(id.0) - 1);
        other.unwrap_or(&self.default)
    }

    /// Whether the number was given.
    #[must_use]
    pub fn has(&self, id: ProfileId) -> bool {
        usize::from(id.0) <= self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_rcv_buf(rcv_buf: u32) -> Profile {
        Profile {
            rcv_buf,
            ..Profile::default()
        }
    }

    #[test]
    fn equal_profiles_share_a_number_and_all_else_stays() {
        let settings = Settings {
            mss_min: 100,
            ..Settings::default()
        };
        let mut profiles = Profiles::new(settings, &[]).expect("no others");
        let default = profiles.intern(Profile::default());
        assert_eq!(default, Ok(ProfileId::DEFAULT));
        let id = profiles.intern(with_rcv_buf(10_000)).expect("a number");
        assert_eq!(profiles.intern(with_rcv_buf(10_000)), Ok(id));
        assert_ne!(profiles.intern(with_rcv_buf(20_000)), Ok(id));
        assert_eq!(profiles.get(id).profile.rcv_buf, 10_000);
        assert_eq!(profiles.get(id).mss_min, 100);
        let default = profiles.get(ProfileId::DEFAULT);
        assert_eq!(default.profile, Profile::default());
        let wrong = profiles.intern(with_rcv_buf(1));
        assert_eq!(wrong, Err(ProfileError::RcvBuf(1)));
    }

    #[test]
    fn there_are_256() {
        let mut profiles = Profiles::new(Settings::default(), &[]).expect("no others");
        for n in 1..256 {
            let id = profiles.intern(with_rcv_buf(10_000 + n)).expect("a number");
            assert!(profiles.has(id));
            assert_eq!(profiles.get(id).profile.rcv_buf, 10_000 + n);
        }
        let more = profiles.intern(with_rcv_buf(9_000));
        assert_eq!(more, Err(ProfileError::TooMany));
        assert_eq!(profiles.intern(with_rcv_buf(10_001)), Ok(ProfileId(1)));
    }
}
