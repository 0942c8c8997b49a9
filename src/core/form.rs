//! What a file outside `live/` holds of a generation, and how it is written down there.

use super::spec::{Part, SecretSource};

/// How an output is written. Each can be read back: what lies on the disk says by itself which
/// generation it is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One of the texts under `live/`, byte for byte.
    Text(Part),
    /// Key, leaf and intermediates in one text, for programs that read the key first.
    KeyFirst,
    /// The leaf alone in DER.
    CertDer,
    /// The key in DER, as PKCS#8 (RFC 5958).
    KeyDer,
    /// Key and chain in one encrypted file (RFC 7292), for Java and Windows.
    Pkcs12 { password: SecretSource },
    /// A directory that looks as certbot's own do: see [`Tree`](super::tree::Tree).
    Tree,
}

impl Form {
    /// The single files, apart from the texts under `live/`, by the word that asks for them.
    pub const WORDS: [&str; 4] = ["combined-key-first", "cert-der", "privkey-der", "pkcs12"];

    /// What it is called in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Text(part) => part.file_name().trim_end_matches(".pem"),
            Self::KeyFirst => Self::WORDS[0],
            Self::CertDer => Self::WORDS[1],
            Self::KeyDer => Self::WORDS[2],
            Self::Pkcs12 { .. } => Self::WORDS[3],
            Self::Tree => "certbot-tree",
        }
    }

    /// Whether the key is in it, in clear or not: it then has the mode of keys.
    pub const fn holds_key(&self) -> bool {
        match self {
            Self::Text(part) => part.holds_key(),
            Self::CertDer => false,
            Self::KeyFirst | Self::KeyDer | Self::Pkcs12 { .. } | Self::Tree => true,
        }
    }
}

impl From<Part> for Form {
    fn from(part: Part) -> Self {
        Self::Text(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_mode_of_keys_where_a_key_is_in_it() {
        for (form, key) in [
            (Form::CertDer, false),
            (Form::KeyDer, true),
            (Form::KeyFirst, true),
            (Form::Tree, true),
            (Form::Text(Part::Cert), false),
            (Form::Text(Part::Fullchain), false),
            (Form::Text(Part::Privkey), true),
            (Form::Text(Part::Combined), true),
        ] {
            assert_eq!(form.holds_key(), key, "{}", form.word());
        }
    }
}
