//! The PROXY protocol: a header in which a proxy reports the client's address, before the client's
//! first byte.

use std::io;
use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;

use super::canonical;

/// Signature and length, in bytes, of the fixed part of version 2.
const SIGNATURE: &[u8] = v2::PROTOCOL_PREFIX;
const FIXED: usize = 16;
/// Maximum lengths, in bytes, of a header of version 1 and of version 2. Version 2 may carry more
/// than addresses, which is skipped.
const MAX_V1: usize = 107;
const MAX_V2: usize = 4096;

/// Whether connections of a listener begin with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preamble {
    /// They do not.
    None,
    /// They do: only trusted proxies connect.
    Expected,
}

/// Reason to close a connection on a listener that expects a header.
#[derive(Debug, thiserror::Error)]
pub enum PreambleError {
    /// The peer is not a trusted proxy.
    #[error("the peer is not in trusted_proxies")]
    Untrusted,
    /// The connection begins with something else.
    #[error("it does not begin with a PROXY protocol header")]
    Malformed,
    /// The header is too long.
    #[error("its PROXY protocol header is longer than {MAX_V2} bytes")]
    TooLong,
    /// The header did not arrive in time.
    #[error("its PROXY protocol header did not come in time")]
    Late,
    /// The connection ended before the end of the header.
    #[error("it ended within its PROXY protocol header")]
    Ended(#[source] io::Error),
}

impl PreambleError {
    /// Every word of [`PreambleError::word`].
    pub const WORDS: [&str; 5] = ["untrusted", "malformed", "too-long", "late", "ended"];

    /// Label of the error in metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::Late => "late",
            Self::Ended(_) => "ended",
        }
    }
}

impl From<io::Error> for PreambleError {
    fn from(error: io::Error) -> Self {
        Self::Ended(error)
    }
}

/// Reads a header and not a byte more. Returns the client's address, or `None` if the proxy speaks
/// for itself, as in a health check, or does not know the address.
///
/// # Errors
/// [`PreambleError`] if there is no valid header.
pub async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, PreambleError> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    let client = if header == SIGNATURE {
        read_binary(stream, &mut header).await?;
        of_binary(&header)?
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        read_line(stream, &mut header).await?;
        of_line(&header)?
    } else {
        return Err(PreambleError::Malformed);
    };
    Ok(client.map(canonical))
}

async fn read_binary<R: AsyncRead + Unpin>(
    stream: &mut R,
    header: &mut Vec<u8>,
) -> Result<(), PreambleError> {
    header.resize(FIXED, 0);
    stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
    let length = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if length > MAX_V2 - FIXED {
        return Err(PreambleError::TooLong);
    }
    header.resize(FIXED + length, 0);
    stream.read_exact(&mut header[FIXED..]).await?;
    Ok(())
}

/// Reads up to the end of the line. The bytes behind it are the client's, and stay unread.
async fn read_line(stream: &mut TcpStream, line: &mut Vec<u8>) -> Result<(), PreambleError> {
    let mut next = [0; MAX_V1];
    while line.len() < MAX_V1 {
        let left = MAX_V1 - line.len();
        let peeked = stream.peek(&mut next[..left]).await?;
        let end = next[..peeked].iter().position(|byte| *byte == b'\n');
        let take = end.map_or(peeked, |end| end + 1);
        // If no byte was there, this read fails as it should.
        stream.read_exact(&mut next[..take.max(1)]).await?;
        line.extend_from_slice(&next[..take]);
        if end.is_some() {
            return Ok(());
        }
    }
    Err(PreambleError::Malformed)
}

fn of_binary(header: &[u8]) -> Result<Option<SocketAddr>, PreambleError> {
    let header = v2::Header::try_from(header).map_err(|_| PreambleError::Malformed)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(four) => Some((four.source_address, four.source_port).into()),
        v2::Addresses::IPv6(six) => Some((six.source_address, six.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

fn of_line(line: &[u8]) -> Result<Option<SocketAddr>, PreambleError> {
    let header = v1::Header::try_from(line).map_err(|_| PreambleError::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(four) => Some((four.source_address, four.source_port).into()),
        v1::Addresses::Tcp6(six) => Some((six.source_address, six.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// Result of reading the header of such a connection, and the unread bytes behind it.
    async fn read_in_parts(
        parts: &[&[u8]],
    ) -> (Result<Option<SocketAddr>, PreambleError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        proxy.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let speaking = async {
            for part in parts {
                proxy.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(proxy);
        };
        let (found, ()) = tokio::join!(read(&mut stream), speaking);
        let mut left = Vec::new();
        if found.is_ok() {
            stream.read_to_end(&mut left).await.unwrap();
        }
        (found, left)
    }

    fn binary(version_and_command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([version_and_command, family]);
        header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        header.extend(payload);
        header
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x16, 0x2e, 0, 80];

    fn six(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().unwrap();
        let mut payload = source.octets().to_vec();
        payload.extend([0; 16]);
        payload.extend([0x16, 0x2e, 0, 80]);
        payload
    }

    #[tokio::test]
    async fn the_client_is_whom_the_header_names_and_its_first_byte_is_left() {
        let with_more = [&FOUR[..], &[4, 0, 3, 1, 2, 3]].concat();
        let cases: [(Vec<u8>, Option<&str>); 11] = [
            (
                b"PROXY TCP4 192.0.2.1 10.0.0.1 5678 80\r\n".into(),
                Some("192.0.2.1:5678"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 5678 80\r\n".into(),
                Some("[2001:db8::1]:5678"),
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.1 ::1 5678 80\r\n".into(),
                Some("192.0.2.1:5678"),
            ),
            (b"PROXY UNKNOWN\r\n".into(), None),
            (b"PROXY UNKNOWN whatever it says\r\n".into(), None),
            (binary(0x21, 0x11, &FOUR), Some("192.0.2.1:5678")),
            (binary(0x21, 0x11, &with_more), Some("192.0.2.1:5678")),
            (
                binary(0x21, 0x21, &six("2001:db8::1")),
                Some("[2001:db8::1]:5678"),
            ),
            (
                binary(0x21, 0x21, &six("::ffff:192.0.2.1")),
                Some("192.0.2.1:5678"),
            ),
            // LOCAL, and a family that has no address here.
            (binary(0x20, 0x11, &FOUR), None),
            (binary(0x21, 0x00, &[]), None),
        ];
        for (header, expected) in cases {
            let whole = [&header[..], b"GET /"].concat();
            let expected = expected.map(|client| client.parse().unwrap());
            let single: Vec<_> = whole.chunks(1).collect();
            for parts in [&[&whole[..]][..], &single] {
                let (found, left) = read_in_parts(parts).await;
                assert_eq!(found.unwrap(), expected, "{whole:?}");
                assert_eq!(left, b"GET /", "{whole:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_and_bounded() {
        let endless = [b"PROXY TCP4 ", &[b'1'; 300][..]].concat();
        let large = binary(0x21, 0x11, &[0; MAX_V2]);
        for (begin, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "malformed"),
            (b"PROXY TCP4 192.0.2.1\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 5678 99999\r\n", "malformed"),
            (&endless, "malformed"),
            (&binary(0x31, 0x11, &FOUR), "malformed"),
            (&binary(0x21, 0x11, &FOUR[..4]), "malformed"),
            (&large, "too-long"),
            (&binary(0x21, 0x11, &FOUR)[..20], "ended"),
            (b"PROXY TCP4 192.0.2.1", "ended"),
            (b"", "ended"),
        ] {
            let (found, _) = read_in_parts(&[begin]).await;
            let word = found.unwrap_err().word();
            assert_eq!(word, expected, "{begin:?}");
            assert!(PreambleError::WORDS.contains(&word));
        }
    }
}
