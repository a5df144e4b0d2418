use super::*;
use tokio::io::AsyncReadExt as _;

/// Each head in these pieces, and how it ended.
async fn heads(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<RequestError>, Vec<u8>) {
    let mut heads = Vec::new();
    // Pieces that arrive one after the other: a duplex whose writer waits for its reader.
    let (host, mut client) = tokio::io::duplex(1024 * 1024);
    let mut requests = Requests::new(host);
    let writing = async {
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(client);
    };
    let reading = async {
        loop {
            match requests.next().await {
                Ok(Some(head)) => heads.push(head.to_vec()),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    let ((), error) = tokio::join!(writing, reading);
    let (_, rest) = requests.into_parts();
    (heads, error, rest.to_vec())
}

#[tokio::test]
async fn heads_are_told_apart_however_they_are_cut() {
    let text = b"\r\n\r\nGET /1 HTTP/1.1\r\nA: b\r\n\r\nGET /2 HTTP/1.1\nA: b\n\nGET /3";
    let one_by_one: Vec<_> = text.chunks(1).collect();
    for pieces in [&[&text[..]][..], &one_by_one] {
        let (heads, error, rest) = heads(pieces).await;
        assert!(error.is_none());
        let first = &b"GET /1 HTTP/1.1\r\nA: b\r\n\r\n"[..];
        let second = &b"GET /2 HTTP/1.1\nA: b\n\n"[..];
        assert_eq!(heads, [first, second]);
        assert_eq!(rest, b"GET /3");
    }
}

fn head_of(size: usize) -> Vec<u8> {
    let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
    format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(size - frame)).into_bytes()
}

#[tokio::test]
async fn the_bound_of_a_head_is_exact() {
    for cut in [usize::MAX, 1000] {
        for (size, fits) in [(MAX_HEAD, true), (MAX_HEAD + 1, false)] {
            let head = head_of(size);
            let pieces: Vec<_> = head.chunks(cut.min(head.len())).collect();
            let (heads, error, _) = heads(&pieces).await;
            assert_eq!(heads.len(), usize::from(fits), "{size}");
            let too_large =
                matches!(error, Some(RequestError::Bad(answer)) if answer.status == 431);
            assert_eq!(too_large, !fits);
        }
    }
}

#[tokio::test]
async fn what_is_no_http_is_known_before_it_ends() {
    let (host, mut client) = tokio::io::duplex(1024);
    let mut requests = Requests::new(host);
    client.write_all(b"\x16\x03\x01\x02").await.unwrap();
    let error = requests.next().await.unwrap_err();
    assert!(matches!(error, RequestError::Bad(answer) if answer.status == 400));
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_behind_all_that_the_client_still_sends() {
    let (host, mut client) = tokio::io::duplex(64);
    let mut requests = Requests::new(host);
    let sending = async {
        client.write_all(&[0; 10_000]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "bye");
        drop(client);
    };
    let (answered, ()) = tokio::join!(requests.answer_last(b"bye"), sending);
    answered.unwrap();
}

#[tokio::test]
async fn what_came_behind_the_head_does_not_keep_the_head_alive() {
    let head = head_of(20_000);
    let (host, mut client) = tokio::io::duplex(64 * 1024);
    client.write_all(&head).await.unwrap();
    client.write_all(b"behind").await.unwrap();
    let mut requests = Requests::new(host);
    let taken = requests.next().await.unwrap().unwrap();
    assert_eq!(taken.len(), head.len());
    let (_, rest) = requests.into_parts();
    assert_eq!(&rest[..], b"behind");
    assert!(rest.capacity() < 100, "{}", rest.capacity());
}
