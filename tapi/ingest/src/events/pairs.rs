//! Which closing bracket belongs to which opening one, for all brackets of a text in one pass.

/// For each token that opens an object or array, the token that closes it. Reused.
pub(super) struct Pairs {
    closes: Vec<u32>,
    /// The tokens that are brackets, and some room behind them.
    brackets: Vec<u32>,
    /// The open brackets at hand, and one slot above them.
    open: Box<[u32]>,
}

impl Pairs {
    /// For texts nested no deeper than `depth_max`.
    pub(super) fn new(depth_max: usize) -> Self {
        Self { closes: Vec::new(), brackets: Vec::new(), open: vec![0; depth_max + 1].into_boxed_slice() }
    }

    /// Pairs the brackets of a text that is known to be JSON; returns how many levels it has.
    pub(super) fn find(&mut self, text: &[u8], marks: &[u32]) -> u32 {
        if self.closes.len() < marks.len() {
            self.closes.resize(marks.len(), 0);
            self.brackets.resize(marks.len(), 0);
        }
        // No branch on the kind of token, in either loop: which one comes next cannot be predicted.
        let mut count = 0;
        for (index, &mark) in marks.iter().enumerate() {
            self.brackets[count] = index as u32;
            count += usize::from(is_bracket(text[mark as usize]));
        }
        let mut depth = 0_usize;
        let mut levels = 0_usize;
        for &index in &self.brackets[..count] {
            let closing = closes(text[marks[index as usize] as usize]);
            depth -= usize::from(closing);
            let opened = if closing { self.open[depth] } else { index };
            self.closes[opened as usize] = index;
            self.open[depth] = index;
            depth += usize::from(!closing);
            levels = levels.max(depth);
        }
        levels as u32
    }

    /// By the index of an opening token's mark, the index of the closing one's. Other entries mean nothing.
    pub(super) fn closes(&self) -> &[u32] {
        &self.closes
    }
}

/// Whether a token that starts with `byte` is `{` or `[`, which differ in bit 5 alone; no other token is like them.
#[inline]
pub(super) fn opens(byte: u8) -> bool {
    byte | 0x20 == b'{'
}

/// Whether it is any of the four, which differ in the bits of 0x26 alone.
#[inline]
fn is_bracket(byte: u8) -> bool {
    byte | 0x26 == 0x7f
}

/// Whether it is `}` or `]`.
#[inline]
pub(super) fn closes(byte: u8) -> bool {
    byte | 0x20 == b'}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bracket_finds_its_partner() {
        let text = b"[{}[[]]1]";
        let marks: Vec<u32> = (0..9).collect();
        let mut pairs = Pairs::new(3);
        assert_eq!(pairs.find(text, &marks), 3);
        assert_eq!([0, 1, 3, 4].map(|open| pairs.closes()[open]), [8, 2, 6, 5]);
        assert_eq!(pairs.find(b"1", &[0]), 0);
    }

    #[test]
    fn only_brackets_are_brackets() {
        let tokens = b"{}[]:,\"-0123456789tfn";
        assert_eq!(tokens.map(opens).iter().filter(|&&is| is).count(), 2);
        assert_eq!(tokens.map(closes).iter().filter(|&&is| is).count(), 2);
        assert_eq!(tokens.map(is_bracket), tokens.map(|byte| opens(byte) || closes(byte)));
        assert!(opens(b'{') && opens(b'[') && closes(b'}') && closes(b']'));
    }
}
