//! Key and chain in one encrypted file (RFC 7292), written so that every reader of the last decade
//! takes it: PBES2 with AES-256-CBC and PBKDF2-HMAC-SHA256, and a MAC by HMAC-SHA256. These are the
//! defaults of OpenSSL 3 and of Java since 8u301 and 11.0.12; nothing older (RC2, 3DES, SHA-1) is
//! written, and nothing but what is written here is read.
//!
//! The same key, chain and password give the same bytes: salts come from an HMAC keyed by the
//! private key, which nobody else can compute and which differs for whatever it is asked of. So
//! this needs no dice, and a file that is written again does not change.
//!
//! Why not a crate: those of the field bring a second set of ciphers. See
//! `docs/decisions/0020-pkcs12-by-hand.md`.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hmac, pbkdf2};
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, DERWriter, Tag};

use super::pem::{KeyDer, KeyForm};
use crate::core::layout::Content;

/// What is kept in such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// In PKCS#8.
    pub key: KeyDer,
    /// DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// A password that every reader encodes alike.
#[derive(Clone)]
pub struct Password(Content);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs12Error {
    #[error(
        "a password for PKCS#12 has {PASSWORD_LEAST} to {PASSWORD_MOST} printable ASCII characters: Java takes none \
         that is shorter, and readers disagree on how others are encoded"
    )]
    Password,
    #[error("the key is kept in an older form than PKCS#8; the next renewal makes a new one")]
    OldKey,
    #[error("the file could not be encrypted")]
    Cipher,
    #[error("it is no PKCS#12 file as it is written here, or its password is another one")]
    Unreadable,
}

/// Fewest and most characters of a password.
const PASSWORD_LEAST: usize = 6;
const PASSWORD_MOST: usize = 256;

/// Rounds of both derivations: Java's default, five times OpenSSL's. The file beside it holds the
/// same key in clear as a rule, so the password is what programs ask for rather than what protects.
const ROUNDS: u32 = 10_000;
/// Most rounds of a file that is read: a forged one must not keep us busy.
const ROUNDS_MOST: u32 = 100_000;
const SALT: usize = 16;
const IV: usize = 16;
const HASH: usize = 32;

impl Password {
    pub fn new(text: &[u8]) -> Result<Self, Pkcs12Error> {
        let fits = (PASSWORD_LEAST..=PASSWORD_MOST).contains(&text.len())
            && text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        if fits { Ok(Self(Content::new(text.to_vec()))) } else { Err(Pkcs12Error::Password) }
    }

    /// As `BMPString` with its final zero (RFC 7292 appendix B.1).
    fn wide(&self) -> Content {
        let mut wide = Vec::with_capacity(2 * self.0.len() + 2);
        for byte in self.0.bytes() {
            wide.extend_from_slice(&[0, *byte]);
        }
        wide.extend_from_slice(&[0, 0]);
        Content::new(wide)
    }
}

/// The file. `name` is what programs call the key (`friendlyName`, Java's alias).
pub fn encode(
    key: &KeyDer,
    chain: &[Vec<u8>],
    name: &str,
    password: &Password,
) -> Result<Content, Pkcs12Error> {
    if key.form != KeyForm::Pkcs8 {
        return Err(Pkcs12Error::OldKey);
    }
    let salts = Salts::of(key, chain, password);
    // Ties the key to its certificate; any value that both have does.
    let id = digest::digest(&digest::SHA256, chain.first().map_or(&[], Vec::as_slice));
    let certificates = Content::new(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (at, der) in chain.iter().enumerate() {
                let own = (at == 0).then_some((name, id.as_ref()));
                write_bag(writer.next(), CERTIFICATE_BAG, own, |writer| {
                    writer.write_sequence(|writer| {
                        writer.next().write_oid(&oid(X509));
                        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(der));
                    });
                });
            }
        });
    }));
    let certificates = salts.seal("certificates", certificates, password)?;
    let sealed_key = salts.seal("key", key.der.clone(), password)?;
    let keys = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            write_bag(writer.next(), SHROUDED_KEY_BAG, Some((name, id.as_ref())), |writer| {
                writer.write_sequence(|writer| {
                    sealed_key.write_algorithm(writer.next());
                    writer.next().write_bytes(&sealed_key.text);
                });
            });
        });
    });
    let safe = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            write_encrypted(writer.next(), &certificates);
            write_data(writer.next(), &keys);
        });
    });
    let salt = salts.bytes::<SALT>("mac");
    let mac = hmac::sign(&mac_key(password, &salt, ROUNDS), &safe);
    Ok(Content::new(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(3);
            write_data(writer.next(), &safe);
            writer.next().write_sequence(|writer| {
                writer.next().write_sequence(|writer| {
                    write_algorithm(writer.next(), SHA256);
                    writer.next().write_bytes(mac.as_ref());
                });
                writer.next().write_bytes(&salt);
                writer.next().write_u32(ROUNDS);
            });
        });
    })))
}

/// What the file holds, after its MAC was checked.
pub fn decode(file: &[u8], password: &Password) -> Result<Contents, Pkcs12Error> {
    let (safe, mac) = yasna::parse_der(file, |reader| {
        reader.read_sequence(|reader| {
            if reader.next().read_u8()? != 3 {
                return invalid();
            }
            let safe = read_data(reader.next())?;
            let mac = reader.next().read_sequence(|reader| {
                let told = reader.next().read_sequence(|reader| {
                    read_algorithm(reader.next(), SHA256)?;
                    reader.next().read_bytes()
                })?;
                Ok((told, reader.next().read_bytes()?, reader.next().read_u32()?))
            })?;
            Ok((safe, mac))
        })
    })
    .map_err(unreadable)?;
    let (told, salt, rounds) = mac;
    if !(1..=ROUNDS_MOST).contains(&rounds) {
        return Err(Pkcs12Error::Unreadable);
    }
    hmac::verify(&mac_key(password, &salt, rounds), &safe, &told).map_err(|_| Pkcs12Error::Unreadable)?;
    let (certificates, keys) = yasna::parse_der(&safe, |reader| {
        reader.read_sequence(|reader| Ok((read_encrypted(reader.next())?, read_data(reader.next())?)))
    })
    .map_err(unreadable)?;
    let certificates = certificates.open(password)?;
    let chain = yasna::parse_der(certificates.bytes(), |reader| {
        reader.collect_sequence_of(|reader| {
            read_bag(reader, CERTIFICATE_BAG, |reader| {
                reader.read_sequence(|reader| {
                    expect(reader.next(), X509)?;
                    reader.next().read_tagged(Tag::context(0), read_bytes)
                })
            })
        })
    })
    .map_err(unreadable)?;
    let keys = yasna::parse_der(&keys, |reader| {
        reader.collect_sequence_of(|reader| {
            read_bag(reader, SHROUDED_KEY_BAG, |reader| reader.read_sequence(Sealed::read))
        })
    })
    .map_err(unreadable)?;
    match &keys[..] {
        [key] => Ok(Contents { key: KeyDer { form: KeyForm::Pkcs8, der: key.open(password)? }, chain }),
        _ => Err(Pkcs12Error::Unreadable),
    }
}

/// Where salts come from.
struct Salts(hmac::Key);

impl Salts {
    fn of(key: &KeyDer, chain: &[Vec<u8>], password: &Password) -> Self {
        let outer = hmac::Key::new(hmac::HMAC_SHA256, key.der.bytes());
        let mut seed = hmac::Context::with_key(&outer);
        seed.update(b"nolapse pkcs12 1\0");
        seed.update(password.0.bytes());
        for der in chain {
            seed.update(&[0]);
            seed.update(der);
        }
        Self(hmac::Key::new(hmac::HMAC_SHA256, seed.sign().as_ref()))
    }

    fn bytes<const N: usize>(&self, purpose: &str) -> [u8; N] {
        let tag = hmac::sign(&self.0, purpose.as_bytes());
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        bytes
    }

    fn seal(&self, purpose: &str, plain: Content, password: &Password) -> Result<Sealed, Pkcs12Error> {
        let salt: [u8; SALT] = self.bytes(&format!("{purpose} salt"));
        let iv: [u8; IV] = self.bytes(&format!("{purpose} iv"));
        // Padded in place: with room for it no copy of the key is left behind.
        let mut text = Vec::with_capacity(plain.len() + IV);
        text.extend_from_slice(plain.bytes());
        drop(plain);
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        UnboundCipherKey::new(&AES_256, cipher_key(password, &salt, ROUNDS).bytes())
            .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
            .and_then(|key| key.less_safe_encrypt(&mut text, context))
            .map_err(|_| Pkcs12Error::Cipher)?;
        Ok(Sealed { salt: salt.to_vec(), rounds: ROUNDS, iv, text })
    }
}

/// Something encrypted, with what it takes to open it but the password.
struct Sealed {
    salt: Vec<u8>,
    rounds: u32,
    iv: [u8; IV],
    text: Vec<u8>,
}

impl Sealed {
    fn open(&self, password: &Password) -> Result<Content, Pkcs12Error> {
        let mut text = Content::new(self.text.clone());
        let context = DecryptionContext::Iv128(FixedLength::from(self.iv));
        let len = UnboundCipherKey::new(&AES_256, cipher_key(password, &self.salt, self.rounds).bytes())
            .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
            .and_then(|key| Ok(key.decrypt(text.bytes_mut(), context)?.len()))
            .map_err(|_| Pkcs12Error::Unreadable)?;
        text.truncate(len);
        Ok(text)
    }

    /// PBES2 (RFC 8018 appendix A.4).
    fn write_algorithm(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&oid(PBES2));
            writer.next().write_sequence(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(PBKDF2));
                    writer.next().write_sequence(|writer| {
                        writer.next().write_bytes(&self.salt);
                        writer.next().write_u32(self.rounds);
                        write_algorithm(writer.next(), HMAC_SHA256);
                    });
                });
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(AES_256_CBC));
                    writer.next().write_bytes(&self.iv);
                });
            });
        });
    }

    /// The algorithm, then the text as what is next.
    fn read(reader: &mut yasna::BERReaderSeq<'_, '_>) -> ASN1Result<Self> {
        let (salt, rounds, iv) = Self::read_algorithm(reader.next())?;
        Ok(Self { salt, rounds, iv, text: reader.next().read_bytes()? })
    }

    fn read_algorithm(reader: BERReader<'_, '_>) -> ASN1Result<(Vec<u8>, u32, [u8; IV])> {
        reader.read_sequence(|reader| {
            expect(reader.next(), PBES2)?;
            reader.next().read_sequence(|reader| {
                let (salt, rounds) = reader.next().read_sequence(|reader| {
                    expect(reader.next(), PBKDF2)?;
                    reader.next().read_sequence(|reader| {
                        let salt = reader.next().read_bytes()?;
                        let rounds = reader.next().read_u32()?;
                        read_algorithm(reader.next(), HMAC_SHA256)?;
                        Ok((salt, rounds))
                    })
                })?;
                let iv = reader.next().read_sequence(|reader| {
                    expect(reader.next(), AES_256_CBC)?;
                    reader.next().read_bytes()
                })?;
                let iv = iv.try_into().or_else(|_| invalid())?;
                if (1..=ROUNDS_MOST).contains(&rounds) { Ok((salt, rounds, iv)) } else { invalid() }
            })
        })
    }
}

fn cipher_key(password: &Password, salt: &[u8], rounds: u32) -> Content {
    let mut key = Content::new(vec![0; HASH]);
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.0.bytes(), key.bytes_mut());
    key
}

/// RFC 7292 appendix B.2 with SHA-256 and as many bytes as one hash has, so there is one block.
fn mac_key(password: &Password, salt: &[u8], rounds: u32) -> hmac::Key {
    const BLOCK: usize = 64;
    const FOR_MAC: u8 = 3;
    let repeated = |bytes: &[u8]| {
        let len = bytes.len().div_ceil(BLOCK) * BLOCK;
        Content::new(bytes.iter().copied().cycle().take(len).collect())
    };
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&[FOR_MAC; BLOCK]);
    hash.update(repeated(salt).bytes());
    hash.update(repeated(password.wide().bytes()).bytes());
    let mut hash = hash.finish();
    for _ in 1..rounds {
        hash = digest::digest(&digest::SHA256, hash.as_ref());
    }
    hmac::Key::new(hmac::HMAC_SHA256, hash.as_ref())
}

fn write_data(writer: DERWriter<'_>, bytes: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(DATA));
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(bytes));
    });
}

fn read_data(reader: BERReader<'_, '_>) -> ASN1Result<Vec<u8>> {
    reader.read_sequence(|reader| {
        expect(reader.next(), DATA)?;
        reader.next().read_tagged(Tag::context(0), read_bytes)
    })
}

fn write_encrypted(writer: DERWriter<'_>, sealed: &Sealed) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(ENCRYPTED_DATA));
        writer.next().write_tagged(Tag::context(0), |writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(0);
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(DATA));
                    sealed.write_algorithm(writer.next());
                    writer
                        .next()
                        .write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(&sealed.text));
                });
            });
        });
    });
}

fn read_encrypted(reader: BERReader<'_, '_>) -> ASN1Result<Sealed> {
    reader.read_sequence(|reader| {
        expect(reader.next(), ENCRYPTED_DATA)?;
        reader.next().read_tagged(Tag::context(0), |reader| {
            reader.read_sequence(|reader| {
                if reader.next().read_u8()? != 0 {
                    return invalid();
                }
                reader.next().read_sequence(|reader| {
                    expect(reader.next(), DATA)?;
                    let (salt, rounds, iv) = Sealed::read_algorithm(reader.next())?;
                    let text = reader.next().read_tagged_implicit(Tag::context(0), read_bytes)?;
                    Ok(Sealed { salt, rounds, iv, text })
                })
            })
        })
    })
}

fn write_bag(
    writer: DERWriter<'_>,
    kind: &[u64],
    own: Option<(&str, &[u8])>,
    value: impl FnOnce(DERWriter<'_>),
) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_tagged(Tag::context(0), value);
        let Some((name, id)) = own else { return };
        writer.next().write_set_of(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(FRIENDLY_NAME));
                writer.next().write_set_of(|writer| writer.next().write_bmp_string(name));
            });
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(LOCAL_KEY_ID));
                writer.next().write_set_of(|writer| writer.next().write_bytes(id));
            });
        });
    });
}

fn read_bag<T>(
    reader: BERReader<'_, '_>,
    kind: &[u64],
    value: impl FnOnce(BERReader<'_, '_>) -> ASN1Result<T>,
) -> ASN1Result<T> {
    reader.read_sequence(|reader| {
        expect(reader.next(), kind)?;
        let value = reader.next().read_tagged(Tag::context(0), value)?;
        // Names and ids are for others.
        reader.read_optional(|reader| reader.read_der().map(drop))?;
        Ok(value)
    })
}

fn write_algorithm(writer: DERWriter<'_>, kind: &[u64]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_null();
    });
}

fn read_algorithm(reader: BERReader<'_, '_>, kind: &[u64]) -> ASN1Result<()> {
    reader.read_sequence(|reader| {
        expect(reader.next(), kind)?;
        reader.next().read_null()
    })
}

fn expect(reader: BERReader<'_, '_>, wanted: &[u64]) -> ASN1Result<()> {
    if reader.read_oid()? == oid(wanted) { Ok(()) } else { invalid() }
}

/// A method's own path is not general enough over its lifetimes.
fn read_bytes(reader: BERReader<'_, '_>) -> ASN1Result<Vec<u8>> {
    reader.read_bytes()
}

fn oid(numbers: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(numbers)
}

fn invalid<T>() -> ASN1Result<T> {
    Err(ASN1Error::new(ASN1ErrorKind::Invalid))
}

fn unreadable(_: ASN1Error) -> Pkcs12Error {
    Pkcs12Error::Unreadable
}

const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const ENCRYPTED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 6];
const PBES2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 13];
const PBKDF2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 12];
const HMAC_SHA256: &[u64] = &[1, 2, 840, 113_549, 2, 9];
const AES_256_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 42];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const SHROUDED_KEY_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 2];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
const LOCAL_KEY_ID: &[u64] = &[1, 2, 840, 113_549, 1, 9, 21];

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyDer {
        KeyDer { form: KeyForm::Pkcs8, der: Content::new(b"the key in PKCS#8".to_vec()) }
    }

    fn chain() -> Vec<Vec<u8>> {
        vec![b"the leaf".to_vec(), b"the intermediate".to_vec()]
    }

    fn password(text: &str) -> Password {
        Password::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_reads_back_by_its_password_alone() {
        let file = encode(&key(), &chain(), "a.example", &password("changeit")).unwrap();
        let read = decode(file.bytes(), &password("changeit")).unwrap();
        assert_eq!(read, Contents { key: key(), chain: chain() });
        assert_eq!(decode(file.bytes(), &password("change it")), Err(Pkcs12Error::Unreadable));
        assert!(!file.bytes().windows(7).any(|window| window == b"the key"));
        assert!(!file.bytes().windows(8).any(|window| window == b"the leaf"));
    }

    #[test]
    fn the_same_generation_gives_the_same_bytes_and_any_other_gives_other_salts() {
        let file = |key: &KeyDer, chain: &[Vec<u8>], word: &str| {
            encode(key, chain, "a.example", &password(word)).unwrap()
        };
        let first = file(&key(), &chain(), "changeit");
        assert_eq!(first, file(&key(), &chain(), "changeit"));
        let other_key = KeyDer { der: Content::new(b"another key".to_vec()), ..key() };
        let salt = |content: &Content| content.bytes()[content.len() - 21..content.len() - 4].to_vec();
        for other in [
            file(&other_key, &chain(), "changeit"),
            file(&key(), &chain()[..1], "changeit"),
            file(&key(), &chain(), "changed it"),
        ] {
            assert_ne!(salt(&other), salt(&first));
        }
    }

    #[test]
    fn passwords_that_readers_would_encode_differently_are_refused() {
        for (text, fits) in [
            ("changeit", true),
            ("with a space", true),
            ("short", false),
            ("pässword", false),
            ("tab\tbed", false),
        ] {
            assert_eq!(Password::new(text.as_bytes()).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn no_single_changed_byte_passes() {
        let file = encode(&key(), &chain(), "a.example", &password("changeit")).unwrap();
        for at in (0..file.len()).step_by(7) {
            let mut bytes = file.bytes().to_vec();
            bytes[at] ^= 0x10;
            // What is outside the MAC (such as a name's bytes) is inside it here: all is covered.
            assert!(decode(&bytes, &password("changeit")).is_err(), "byte {at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            proptest::prop_assert_eq!(decode(&bytes, &password("changeit")), Err(Pkcs12Error::Unreadable));
        }
    }
}
