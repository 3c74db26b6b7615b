//! Requests of HTTP/1.1 as far as the proxy must understand them: where one ends.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads one request after the other.
pub(super) struct Requests<R> {
    stream: R,
    buffer: Vec<u8>,
}

/// One request, head and body.
pub(super) struct Request {
    pub bytes: Vec<u8>,
    pub is_watch: bool,
}

impl<R: AsyncRead + Unpin> Requests<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The next one; `None` when the client has gone.
    pub(super) async fn next(&mut self) -> Option<Request> {
        loop {
            if let Some(length) = length(&self.buffer)
                && self.buffer.len() >= length
            {
                let rest = self.buffer.split_off(length);
                let bytes = std::mem::replace(&mut self.buffer, rest);
                let line = bytes.split(|byte| *byte == b'\n').next();
                let is_watch = line.is_some_and(|line| find(line, b"watch=true").is_some());
                return Some(Request { bytes, is_watch });
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Bytes of the first request in the buffer, if its head is complete. Our clients know how long their
/// bodies are and say so.
fn length(buffer: &[u8]) -> Option<usize> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0);
    Some(head + body)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::Requests;

    #[test]
    fn requests_are_told_apart_by_their_length() {
        let text: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b?watch=true HTTP/1.1\r\n\r\nGET /c";
        crate::run(async {
            let mut requests = Requests::new(text);
            let first = requests.next().await.unwrap();
            assert!(first.bytes.ends_with(b"abc") && !first.is_watch);
            let second = requests.next().await.unwrap();
            assert!(second.bytes.starts_with(b"GET /b") && second.is_watch);
            assert!(requests.next().await.is_none());
        });
    }
}
