//! Messages that are larger than any that is taken, on a WebSocket: seen by the length of their frame before anything
//! of them is stored, so that no more than their head is read to refuse them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use cordboard_engine::sip::message::MAX_HEAD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::connection::SKIPPED;

/// The longest header of a frame (RFC 6455 section 5.2), in bytes.
const FRAME_HEADER: usize = 14;
/// How long a peer may go on sending before it takes notice of our close.
const LINGER: Duration = Duration::from_secs(2);

/// The frames of a client, as far as their lengths tell where they end.
#[derive(Debug)]
struct Frames {
    /// The largest message, in bytes.
    most: u64,
    header: [u8; FRAME_HEADER],
    /// Bytes of the next header that have come.
    read: usize,
    /// Bytes of the present frame that have not come.
    left: u64,
    /// Bytes of the present message, which may have several frames.
    message: u64,
}

/// A message that is too large.
#[derive(Debug)]
struct Large {
    mask: [u8; 4],
    /// What has come of it, unmasked.
    text: Vec<u8>,
    /// Its beginning was in a frame before.
    begun: bool,
}

impl Frames {
    const fn new(most: usize) -> Self {
        Self {
            most: most as u64,
            header: [0; FRAME_HEADER],
            read: 0,
            left: 0,
            message: 0,
        }
    }

    /// Follows the frames in what has come next. Where one makes its message too large: that message, and how many
    /// bytes stand before the end of the frame's header.
    fn follow(&mut self, bytes: &[u8]) -> Option<(Large, usize)> {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let here = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                self.left -= here as u64;
                at += here;
                continue;
            }
            self.header[self.read] = bytes[at];
            (self.read, at) = (self.read + 1, at + 1);
            let Some((length, mask)) = self.length() else {
                continue;
            };
            (self.read, self.left) = (0, length);
            let opcode = self.header[0] & 0xf;
            if opcode >= 8 {
                continue; // a ping, a pong, a close: never large
            }
            let before = if opcode == 0 { self.message } else { 0 };
            self.message = before.saturating_add(length);
            if self.message > self.most {
                let (text, begun) = (Vec::new(), before > 0);
                return Some((Large { mask, text, begun }, at));
            }
        }
        None
    }

    /// The length and the mask of the frame whose header has come; `None` while it has not.
    fn length(&self) -> Option<(u64, [u8; 4])> {
        let have = &self.header[..self.read];
        let second = *have.get(1)?;
        let (long, masked) = (second & 0x7f, second & 0x80 != 0);
        let end = match long {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let number = have.get(2..end)?;
        let number = number
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mask = match masked {
            true => have.get(end..end + 4)?.try_into().ok()?,
            false => [0; 4],
        };
        Some((if end == 2 { u64::from(long) } else { number }, mask))
    }
}

impl Large {
    fn add(&mut self, bytes: &[u8]) {
        let at = self.text.len();
        let room = bytes.len().min(MAX_HEAD.saturating_sub(at));
        let masked = bytes[..room].iter().enumerate();
        self.text
            .extend(masked.map(|(place, byte)| byte ^ self.mask[(at + place) % 4]));
    }
}

/// A WebSocket's stream that ends with an error before a message that is too large.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    /// What has been read already.
    rest: Bytes,
    frames: Frames,
    large: Option<Large>,
}

impl<S> Bounded<S> {
    /// `rest` is what came behind the upgrade; `most` is the largest message, in bytes.
    pub(super) fn new(stream: S, rest: Vec<u8>, most: usize) -> Self {
        Self {
            stream,
            rest: rest.into(),
            frames: Frames::new(most),
            large: None,
        }
    }

    /// Whether the stream has ended with a message that is too large.
    pub(super) const fn is_over(&self) -> bool {
        self.large.is_some()
    }

    /// What is below.
    pub(super) const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> Bounded<S> {
    /// The head of the message that was too large, which ends the stream; `None` if there is none, or if it does not
    /// come in this time.
    pub(super) async fn head(&mut self, patience: Duration) -> Option<Bytes> {
        let large = self.large.as_mut().filter(|large| !large.begun)?;
        let reading = async {
            let (mut some, mut searched) = ([0; 1 << 10], 0_usize);
            loop {
                let begin = searched.saturating_sub(3);
                let end = large.text[begin..]
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n");
                if let Some(end) = end {
                    large.text.truncate(begin + end + 4);
                    return Some(std::mem::take(&mut large.text).into());
                }
                searched = large.text.len();
                match self.stream.read(&mut some).await {
                    Ok(count @ 1..) if searched < MAX_HEAD => large.add(&some[..count]),
                    _ => return None,
                }
            }
        };
        timeout(patience, reading).await.ok().flatten()
    }
}

/// Reads what a peer still sends and drops it, so that it finds our close and not a connection that is reset.
pub(crate) async fn linger<S: AsyncRead + Unpin>(stream: &mut S, mut whole: impl FnMut()) {
    let drain = async {
        let (mut some, mut bytes) = ([0; 4 << 10], 0);
        while let Ok(count @ 1..) = stream.read(&mut some).await {
            whole();
            bytes += count;
            if bytes > SKIPPED {
                break;
            }
        }
    };
    // One that goes on for longer is not listened to.
    let _ = timeout(LINGER, drain).await;
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.large.is_some() {
            // What follows belongs to the message that is not taken.
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = buffer.filled().len();
        if this.rest.is_empty() {
            let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
            if !matches!(polled, Poll::Ready(Ok(()))) {
                return polled;
            }
        } else {
            let some = this.rest.len().min(buffer.remaining());
            buffer.put_slice(&this.rest[..some]);
            this.rest.advance(some);
        }
        let came = &buffer.filled()[before..];
        if let Some((mut large, end)) = this.frames.follow(came) {
            large.add(&came[end..]);
            large.add(&std::mem::take(&mut this.rest));
            this.large = Some(large);
            // The frame's header is not given on as a whole: what stands before it is read as ever.
            if end == 1 {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
            buffer.set_filled(before + end - 1);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// A frame of a client, masked.
    fn frame(first: u8, payload: &[u8], named: usize) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first];
        match named {
            0..126 => frame.push(0x80 | named as u8),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((named as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((named as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        frame
    }

    /// What is given on of a stream that comes in pieces of this size, and the head that follows.
    async fn given(stream: &[u8], rest: usize, piece: usize) -> (Vec<u8>, Option<Bytes>) {
        let (mut far, near) = duplex(1 << 20);
        let (rest, later) = stream.split_at(rest);
        let mut bounded = Bounded::new(near, rest.to_vec(), 1000);
        far.write_all(later).await.unwrap();
        let (mut all, mut some) = (Vec::new(), vec![0; piece]);
        drop(far);
        while let Ok(count @ 1..) = bounded.read(&mut some).await {
            all.extend(&some[..count]);
        }
        let head = bounded.head(Duration::from_secs(60)).await;
        (all, head)
    }

    #[tokio::test]
    async fn what_is_small_passes_and_of_what_is_too_large_the_head_is_read() {
        let small = [
            frame(0x81, &[b'a'; 1000], 1000),
            frame(0x01, &[b'b'; 600], 600),
            frame(0x89, b"ping", 4),
            frame(0x80, &[b'c'; 400], 400),
            frame(0x81, b"", 0),
        ]
        .concat();
        let large = frame(0x81, b"MESSAGE sip:a SIP/2.0\r\n\r\nbody", 100_000);
        let stream = [&small[..], &large[..]].concat();
        for piece in [1, 2, 3, 7, 100, 4096] {
            for rest in [0, 5, small.len(), small.len() + 3, stream.len()] {
                let (all, head) = given(&stream, rest, piece).await;
                // The last byte of the frame's header is missing, so nobody waits for its body.
                assert_eq!(all, stream[..small.len() + 13], "{piece} {rest}");
                assert_eq!(head.as_deref(), Some(&b"MESSAGE sip:a SIP/2.0\r\n\r\n"[..]));
            }
        }
        let (all, head) = given(&small, 0, 50).await;
        assert_eq!((all, head), (small, None));
    }

    #[tokio::test]
    async fn one_that_grows_too_large_by_its_frames_has_no_head_to_answer() {
        let begin = frame(0x01, b"MESSAGE sip:a SIP/2.0\r\n\r\n", 25);
        let stream = [begin, frame(0x80, b"body", 990)].concat();
        let (all, head) = given(&stream, 0, 4096).await;
        assert_eq!((all.len(), head), (25 + 6 + 7, None));
        let endless = frame(0x81, &[b'a'; MAX_HEAD + 10], 100_000);
        assert_eq!(given(&endless, 0, 4096).await.1, None);
    }
}
