//! Changing bytes at random, now and then in a way that means something.

/// Texts that have broken readers before.
const WORDS: [&str; 28] = [
    "\0",
    "\n",
    "\r\n",
    "\u{1b}[2J",
    "\u{202e}",
    "\u{feff}",
    "\"",
    "\\",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "-",
    "..",
    "/",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "9999-12-31T23:59:59Z",
    "0000-00-00T00:00:00Z",
    "ä",
    "😀",
    " ",
];
/// Changes made to one input at most.
const CHANGES_MOST: usize = 6;

pub struct Mutator<'a> {
    state: u64,
    words: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    pub fn new(seed: u64, words: &'a [&'a str]) -> Self {
        Self { state: seed, words }
    }

    /// A number below `most`; 0 where that is 0.
    pub fn below(&mut self, most: usize) -> usize {
        // SplitMix64: small, and good enough to pick places.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 1).unwrap_or(usize::MAX).checked_rem(most).unwrap_or(0)
    }

    pub fn mutated(&mut self, one: &[u8], other: &[u8]) -> Vec<u8> {
        let mut input = one.to_vec();
        for _ in 0..=self.below(CHANGES_MOST) {
            self.change(&mut input, other);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        let most = 1 << self.below(10);
        let upto = at + self.below(input.len() - at + 1).min(most);
        match self.below(10) {
            0 | 1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < input.len() => input[at] = self.below(256).to_le_bytes()[0],
            3 => drop(input.drain(at..upto)),
            4 => {
                let piece = input[at..upto].to_vec();
                let most = 1 << self.below(8);
                let times = 1 + self.below(most);
                input.splice(at..at, piece.repeat(times.min(4096 / piece.len().max(1) + 1)));
            }
            5 => input.truncate(at),
            6 => {
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                input.splice(at..upto, other[from..to].iter().copied());
            }
            7 => {
                let piece = input[at..upto].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            _ => {
                let word = match self.below(WORDS.len() + 2 * self.words.len()) {
                    n if n < WORDS.len() => WORDS[n],
                    n => self.words[(n - WORDS.len()) % self.words.len()],
                };
                let upto = if self.below(2) == 0 { at } else { upto };
                input.splice(at..upto, word.bytes());
            }
        }
    }
}
