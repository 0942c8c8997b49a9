//! The header that a listener behind a proxy expects (PROXY protocol, versions 1 and 2): ours says
//! that nobody is spoken for, so that no address is made up and logs show our own.

use crate::core::manner::ProxyHeader;

/// `LOCAL`: signature, version 2 with that command, no family, no addresses.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

pub const fn header(version: ProxyHeader) -> &'static [u8] {
    match version {
        ProxyHeader::V1 => b"PROXY UNKNOWN\r\n",
        ProxyHeader::V2 => V2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_header_is_sixteen_octets() {
        assert_eq!(V2.len(), 16);
        assert_eq!(V2[..12], [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
    }
}
