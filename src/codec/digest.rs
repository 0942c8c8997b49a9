//! The one hash of this program.

use aws_lc_rs::digest::{SHA256, digest};

use crate::core::leaf::Fingerprint;

pub fn sha256(bytes: &[u8]) -> Fingerprint {
    let mut value = [0; 32];
    value.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Fingerprint(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_fips_180_2() {
        assert_eq!(
            sha256(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
