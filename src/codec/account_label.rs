//! Where dns-account-01 looks (draft-ietf-acme-dns-account-label-02 §3): each account has a place of its own,
//! so two agents prove one name side by side, and an alias for one lets the other alone.

use super::digest::sha256;

/// Octets of the digest that go into the label.
const KEPT: usize = 10;

/// `_ujmmovf2vn55tgye`, of the account's URL as the CA gave it.
pub fn account_label(account: &str) -> String {
    format!("_{}", base32(&sha256(account.as_bytes()).0[..KEPT]))
}

/// RFC 4648 §6 in lower case; ten octets are sixteen characters without a rest.
fn base32(octets: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |at: usize| octets.get(at / 8).is_some_and(|octet| octet >> (7 - at % 8) & 1 == 1);
    (0..(octets.len() * 8).div_ceil(5))
        .map(|digit| {
            let value = (digit * 5..digit * 5 + 5).fold(0, |value, at| value << 1 | usize::from(bit(at)));
            char::from(DIGITS[value])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_the_draft() {
        assert_eq!(account_label("https://example.com/acme/acct/ExampleAccount"), "_ujmmovf2vn55tgye");
    }

    #[test]
    fn digits_as_rfc_4648_gives_them() {
        for (octets, text) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("fooba", "mzxw6ytb"), ("foobarfoob", "mzxw6ytbojtg633c")]
        {
            assert_eq!(base32(octets.as_bytes()), text, "{octets}");
        }
    }
}
