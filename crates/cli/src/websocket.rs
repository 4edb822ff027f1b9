//! As much of RFC 6455 as the demo's app and the load generator speak: the handshake's answer, and single frames.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A text frame.
pub const TEXT: u8 = 1;
/// The other side ends the connection.
pub const CLOSE: u8 = 8;
/// The other side wants a sign of life.
pub const PING: u8 = 9;
/// The sign of life.
pub const PONG: u8 = 10;

/// The close code of a server that goes away: what a gate sends at its drain's deadline.
pub const GOING_AWAY: u16 = 1001;

/// The longest payload that is taken.
const LONGEST: u64 = 64 << 10;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A text.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { opcode: TEXT, payload: text.into() }
    }

    /// The end, with a code.
    #[must_use]
    pub fn close(code: u16) -> Self {
        Self { opcode: CLOSE, payload: code.to_be_bytes().to_vec() }
    }

    /// The code of a close frame.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>().filter(|_| self.opcode == CLOSE)?;
        Some(u16::from_be_bytes(*code))
    }
}

/// What `Sec-WebSocket-Accept` has to be for `Sec-WebSocket-Key`.
#[must_use]
pub fn accept(key: &str) -> String {
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(digest)
}

/// A key for a handshake.
#[must_use]
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The next frame.
///
/// # Errors
/// When the connection ends, or what comes is no frame of at most 64 KiB.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 2];
    from.read_exact(&mut head).await?;
    let length = match head[1] & 0x7f {
        126 => u64::from(from.read_u16().await?),
        127 => from.read_u64().await?,
        short => u64::from(short),
    };
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        from.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; usize::try_from(length).expect("at most 64 KiB")];
    from.read_exact(&mut payload).await?;
    cover(&mut payload, mask);
    Ok(Frame { opcode: head[0] & 0x0f, payload })
}

/// Sends a frame; a client masks its own.
///
/// # Errors
/// When the connection has ended.
pub async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
    mask: Option<[u8; 4]>,
) -> io::Result<()> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![0x80 | frame.opcode];
    match u16::try_from(frame.payload.len()) {
        Ok(short @ 0..=125) => bytes.push(masked | short as u8),
        Ok(long) => {
            bytes.push(masked | 126);
            bytes.extend(long.to_be_bytes());
        }
        Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "a frame beyond 64 KiB")),
    }
    bytes.extend(mask.iter().flatten());
    let start = bytes.len();
    bytes.extend(&frame.payload);
    cover(&mut bytes[start..], mask.unwrap_or_default());
    to.write_all(&bytes).await?;
    to.flush().await
}

fn cover(payload: &mut [u8], mask: [u8; 4]) {
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_the_one_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn a_masked_frame_arrives_as_it_was() {
        for length in [0, 1, 125, 126, 5_000] {
            let frame = Frame::text(vec![b'x'; length]);
            let mut wire = Vec::new();
            write(&mut wire, &frame, Some([1, 2, 3, 4])).await.unwrap();
            assert_eq!(read(&mut wire.as_slice()).await.unwrap(), frame);
        }
        assert_eq!(Frame::close(GOING_AWAY).close_code(), Some(1001));
    }
}
