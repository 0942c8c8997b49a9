//! Little that becomes much when it is decompressed.

/// A gzip file (RFC 1952) of this many spaces, 158 times smaller. Its checksum is wrong: who gets as far as to
/// compare it has decompressed everything.
pub(crate) fn gzip(inflated: usize) -> Vec<u8> {
    // Deflate, no name, no time, written by no known system.
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = Bits::default();
    // RFC 1951 §3.2.6: the last block, with fixed codes.
    bits.put(0b011, 3);
    bits.put_code(0x30 + u32::from(b' '), 8);
    for _ in 0..inflated.saturating_sub(1) / 258 {
        // Length 258 is symbol 285, and one back is distance code 0.
        bits.put_code(0b1100_0101, 8);
        bits.put_code(0, 5);
    }
    for _ in 0..inflated.saturating_sub(1) % 258 {
        bits.put_code(0x30 + u32::from(b' '), 8);
    }
    bits.put_code(0, 7);
    file.extend(bits.finish());
    file.extend([0; 4]);
    file.extend(u32::try_from(inflated).unwrap_or(u32::MAX).to_le_bytes());
    file
}

/// Bits, the lowest of each octet first.
#[derive(Default)]
struct Bits {
    octets: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, bits: u32, count: u32) {
        self.pending |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.octets.push((self.pending & 0xff) as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Codes go in with their highest bit first (RFC 1951 §3.1.1).
    fn put_code(&mut self, code: u32, count: u32) {
        self.put(code.reverse_bits() >> (32 - count), count);
    }

    fn finish(mut self) -> Vec<u8> {
        let rest = (8 - self.count % 8) % 8;
        self.put(0, rest);
        self.octets
    }
}
