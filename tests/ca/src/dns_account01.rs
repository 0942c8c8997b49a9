//! Where dns-account-01 looks (draft-ietf-acme-dns-account-label-02).

use aws_lc_rs::digest::{SHA256, digest};

use crate::challenge::Subject;

pub(crate) fn place(subject: &Subject) -> String {
    format!("_{}._acme-challenge.{}", label(&subject.account), subject.identifier)
}

/// base32 of ten octets of the digest: eighty bits are sixteen digits.
fn label(account: &str) -> String {
    let hash = digest(&SHA256, account.as_bytes());
    let bits = hash.as_ref()[..10].iter().fold(0_u128, |bits, octet| bits << 8 | u128::from(*octet));
    (0..16)
        .rev()
        .map(|digit| match u8::try_from(bits >> (digit * 5) & 31).unwrap_or(0) {
            letter @ 0..26 => char::from(b'a' + letter),
            digit => char::from(b'2' + digit - 26),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_of_the_draft() {
        assert_eq!(label("https://example.com/acme/acct/ExampleAccount"), "ujmmovf2vn55tgye");
    }
}
