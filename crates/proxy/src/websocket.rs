//! Where WebSocket frames end (RFC 6455, 5.2): only there can a proxy say goodbye without being misunderstood.

/// "Going away", to a client: a close frame with status 1001, not masked.
pub(crate) const AWAY_TO_CLIENT: &[u8] = &[0x88, 0x02, 0x03, 0xe9];

/// The same to an app: masked, as a client must, with a mask of zeros.
pub(crate) const AWAY_TO_APP: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The head of a frame, as far as it has come.
    head: Vec<u8>,
    /// Bytes of the frame's payload that are still to come.
    payload: u64,
}

impl Frames {
    /// Whether a frame ends here.
    pub(crate) const fn at_boundary(&self) -> bool {
        self.head.is_empty() && self.payload == 0
    }

    /// Follows all of `bytes`.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.step(bytes);
        }
    }

    /// Follows `bytes` to the first boundary in them, if there is one; how many bytes that took.
    pub(crate) fn follow_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.at_boundary() {
            rest = self.step(rest);
        }
        bytes.len() - rest.len()
    }

    /// Goes on by a head's byte, or by as much of a payload as there is.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.payload > 0 {
            let n = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
            self.payload -= n as u64;
            return &bytes[n..];
        }
        let (first, rest) = bytes.split_first().expect("asked with at least one byte");
        self.head.push(*first);
        if let Some(payload) = self.payload_length() {
            self.payload = payload;
            self.head.clear();
        }
        rest
    }

    /// The payload's length, once the head is complete.
    fn payload_length(&self) -> Option<u64> {
        let second = *self.head.get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let extended: usize = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.head.len() < 2 + extended + mask {
            return None;
        }
        let long = self.head[2..2 + extended].iter().fold(0, |n, byte| (n << 8) | u64::from(*byte));
        Some(if extended == 0 { u64::from(second & 0x7f) } else { long })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match u16::try_from(length) {
            Ok(short @ ..=125) => frame.push(mask | short as u8),
            Ok(medium) => {
                frame.push(mask | 126);
                frame.extend(medium.to_be_bytes());
            }
            Err(_) => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![7; length + if masked { 4 } else { 0 }]);
        frame
    }

    #[test]
    fn a_frame_of_any_length_ends_where_it_ends_however_it_is_cut() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            for masked in [false, true] {
                let bytes = frame(length, masked);
                for piece in [1, 2, 3, 1_000, 100_000] {
                    let mut frames = Frames::default();
                    let (last, before) = bytes.split_last().unwrap();
                    before.chunks(piece).for_each(|piece| frames.follow(piece));
                    assert!(!frames.at_boundary(), "{length} {masked} {piece}");
                    frames.follow(&[*last]);
                    assert!(frames.at_boundary(), "{length} {masked} {piece}");
                }
            }
        }
    }

    #[test]
    fn the_rest_of_a_frame_is_let_through_and_not_the_next() {
        let (one, two) = (frame(300, false), frame(5, false));
        let mut frames = Frames::default();
        frames.follow(&one[..10]);
        let rest = [&one[10..], &two[..]].concat();
        assert_eq!(frames.follow_to_boundary(&rest), one.len() - 10);
        assert_eq!(frames.follow_to_boundary(&two), 0, "it is at one already");
    }

    #[test]
    fn our_goodbyes_are_frames() {
        for away in [AWAY_TO_CLIENT, AWAY_TO_APP] {
            let mut frames = Frames::default();
            frames.follow(away);
            assert!(frames.at_boundary());
        }
    }
}
