//! How an endpoint is looked at, where that is not one plain handshake: the part of an endpoint
//! behind its question mark, as in `127.0.0.1:443?samples=8&tls=1.2`.

use std::fmt;

use super::name::BadName;

/// What an operator may ask for. The default is one handshake with the first address that answers,
/// by any version and key, and nothing but the installed certificate will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Manner {
    pub accept: Accept,
    pub addresses: Addresses,
    /// `None`: whatever both sides like best.
    pub key: Option<KeyFamily>,
    pub proxy: Option<ProxyHeader>,
    pub samples: Samples,
    /// `None`: 1.3 or 1.2.
    pub tls: Option<TlsVersion>,
}

/// What counts as success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Accept {
    /// The installed certificate alone.
    #[default]
    Installed,
    /// Any that is for the name, valid now and trusted by this system: an edge that has its own.
    AnyValid,
}

/// Which addresses of a host name are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addresses {
    /// The first that takes the connection, as a browser does it.
    #[default]
    First,
    All,
}

/// Which kind of key the server is made to show, where it has a certificate of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyFamily {
    Ecdsa,
    Rsa,
}

/// What a listener behind a proxy expects before anything else (PROXY protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyHeader {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    V12,
    V13,
}

/// How many handshakes are made with each address: one worker or backend of many that is left
/// behind is seen with more of them, never with certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Samples(u8);

impl Samples {
    pub const MAX: u8 = 32;

    /// `None` outside 1 to [`Samples::MAX`].
    pub fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=Self::MAX).contains(number)).map(Self)
    }

    pub const fn count(self) -> usize {
        self.0 as usize
    }
}

impl Default for Samples {
    fn default() -> Self {
        Self(1)
    }
}

/// A setting whose value is one of a few words.
pub trait Worded: Copy + PartialEq + Sized + 'static {
    /// The name of the setting.
    const KEY: &'static str;
    const WORDS: &'static [(Self, &'static str)];
    /// What is said to somebody who wrote another word.
    const WRONG: &'static str;

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(value, _)| *value == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Result<Self, BadName> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found.map(|(value, _)| *value).ok_or(BadName(Self::WRONG))
    }
}

impl Worded for Accept {
    const KEY: &'static str = "accept";
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Installed, "installed"), (Self::AnyValid, "any-valid")];
    const WRONG: &'static str = "`accept` is installed or any-valid";
}

impl Worded for Addresses {
    const KEY: &'static str = "addresses";
    const WORDS: &'static [(Self, &'static str)] = &[(Self::First, "first"), (Self::All, "all")];
    const WRONG: &'static str = "`addresses` is first or all";
}

impl Worded for KeyFamily {
    const KEY: &'static str = "key";
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Ecdsa, "ecdsa"), (Self::Rsa, "rsa")];
    const WRONG: &'static str = "`key` is ecdsa or rsa";
}

impl Worded for ProxyHeader {
    const KEY: &'static str = "proxy-protocol";
    const WORDS: &'static [(Self, &'static str)] = &[(Self::V1, "v1"), (Self::V2, "v2")];
    const WRONG: &'static str = "`proxy-protocol` is v1 or v2";
}

impl Worded for TlsVersion {
    const KEY: &'static str = "tls";
    const WORDS: &'static [(Self, &'static str)] = &[(Self::V12, "1.2"), (Self::V13, "1.3")];
    const WRONG: &'static str = "`tls` is 1.2 or 1.3";
}

/// The name of the one setting that is a number.
pub const SAMPLES_KEY: &str = "samples";

impl Manner {
    /// Reads what stands behind the question mark: settings in any order, each at most once.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let mut manner = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for setting in text.split('&') {
            let (key, value) = setting.split_once('=').ok_or(BadName("behind ? stands key=value"))?;
            if seen.contains(&key) {
                return Err(BadName("behind ? each key stands once"));
            }
            seen.push(key);
            match key {
                Accept::KEY => manner.accept = Accept::of(value)?,
                Addresses::KEY => manner.addresses = Addresses::of(value)?,
                KeyFamily::KEY => manner.key = Some(KeyFamily::of(value)?),
                ProxyHeader::KEY => manner.proxy = Some(ProxyHeader::of(value)?),
                TlsVersion::KEY => manner.tls = Some(TlsVersion::of(value)?),
                SAMPLES_KEY => {
                    let number = value.parse().ok().and_then(Samples::new);
                    manner.samples = number.ok_or(BadName("`samples` is a number from 1 to 32"))?;
                }
                _ => return Err(BadName("behind ? stands a key that no endpoint has")),
            }
        }
        Ok(manner)
    }
}

/// Nothing for the default, else with the question mark.
impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mark = '?';
        let mut say = |key: &str, value: &dyn fmt::Display| {
            let written = write!(f, "{mark}{key}={value}");
            mark = '&';
            written
        };
        if self.accept != Accept::default() {
            say(Accept::KEY, &self.accept.word())?;
        }
        if self.addresses != Addresses::default() {
            say(Addresses::KEY, &self.addresses.word())?;
        }
        if let Some(key) = self.key {
            say(KeyFamily::KEY, &key.word())?;
        }
        if let Some(proxy) = self.proxy {
            say(ProxyHeader::KEY, &proxy.word())?;
        }
        if self.samples != Samples::default() {
            say(SAMPLES_KEY, &self.samples.0)?;
        }
        if let Some(tls) = self.tls {
            say(TlsVersion::KEY, &tls.word())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_manner() -> impl Strategy<Value = Manner> {
        let accept = prop_oneof![Just(Accept::Installed), Just(Accept::AnyValid)];
        let addresses = prop_oneof![Just(Addresses::First), Just(Addresses::All)];
        let key = proptest::option::of(prop_oneof![Just(KeyFamily::Ecdsa), Just(KeyFamily::Rsa)]);
        let proxy = proptest::option::of(prop_oneof![Just(ProxyHeader::V1), Just(ProxyHeader::V2)]);
        let tls = proptest::option::of(prop_oneof![Just(TlsVersion::V12), Just(TlsVersion::V13)]);
        let samples = (1..=u64::from(Samples::MAX)).prop_map(|n| Samples::new(n).unwrap_or_default());
        (accept, addresses, key, proxy, samples, tls).prop_map(
            |(accept, addresses, key, proxy, samples, tls)| Manner {
                accept,
                addresses,
                key,
                proxy,
                samples,
                tls,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(manner in any_manner()) {
            let text = manner.to_string();
            if let Some(behind) = text.strip_prefix('?') {
                prop_assert_eq!(Manner::parse(behind), Ok(manner));
            } else {
                prop_assert_eq!(manner, Manner::default());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = Manner::parse(&text);
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        for text in [
            "",
            "samples",
            "samples=0",
            "samples=33",
            "samples=-1",
            "tls=1.1",
            "key=ed25519",
            "proxy-protocol=3",
            "accept=none",
            "addresses=two",
            "sni=a",
            "tls=1.2&tls=1.3",
            "tls=1.2&",
        ] {
            assert!(Manner::parse(text).is_err(), "{text}");
        }
    }
}
