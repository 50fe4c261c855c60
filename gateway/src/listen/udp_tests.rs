use super::*;
use std::future::poll_fn;
use std::time::Duration;

const BUFFERS: Buffers = Buffers { receive: 4 << 20, send: 4 << 20 };

struct Seen {
    bytes: Vec<u8>,
    peer: SocketAddr,
    local: SocketAddr,
    truncated: bool,
}

fn socket(address: &str) -> UdpSocket {
    UdpSocket::bind(address.parse().unwrap(), BUFFERS).unwrap()
}

/// A peer that blocks, but not for ever.
fn peer(address: &str) -> std::net::UdpSocket {
    let peer = std::net::UdpSocket::bind(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

async fn receive_once(socket: &mut UdpSocket) -> Vec<Seen> {
    let mut seen = Vec::new();
    let count = poll_fn(|cx| {
        socket.poll_receive(cx, |datagram| {
            seen.push(Seen {
                bytes: datagram.bytes.to_vec(),
                peer: datagram.peer,
                local: datagram.local,
                truncated: datagram.truncated,
            });
        })
    })
    .await
    .unwrap();
    assert_eq!(count, seen.len());
    seen
}

fn on_a_loop<F: Future>(future: F) -> F::Output {
    let timeout = async { tokio::time::timeout(Duration::from_secs(10), future).await.expect("done within 10 s") };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(timeout)
}

/// Sends one datagram from `from` to `to`, has it answered, and returns what the peer got and from whom.
async fn ask(socket: &mut UdpSocket, from: &str, to: SocketAddr) -> (Vec<u8>, SocketAddr) {
    let peer = peer(from);
    peer.send_to(b"question", to).unwrap();
    let seen = receive_once(socket).await;
    assert_eq!(seen.len(), 1);
    let seen = &seen[0];
    assert_eq!((seen.bytes.as_slice(), seen.peer, seen.local), (&b"question"[..], peer.local_addr().unwrap(), to));
    let mut queue = VecDeque::from([Outgoing { bytes: Arc::from(&b"answer"[..]), peer: seen.peer, local: seen.local }]);
    let report = socket.send_batch(&mut queue).unwrap();
    assert_eq!((report.sent, report.failed, report.would_block, queue.len()), (1, 0, false, 0));
    let mut buffer = [0; 64];
    let (length, from) = peer.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

#[test]
fn a_bound_address_answers_from_itself() {
    on_a_loop(async {
        for (bind, from) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let mut socket = socket(bind);
            let to = socket.local_address();
            assert_eq!(ask(&mut socket, from, to).await, (b"answer".to_vec(), to));
        }
    });
}

#[test]
fn a_wildcard_answers_from_the_address_that_was_asked() {
    on_a_loop(async {
        let mut v4 = socket("0.0.0.0:0");
        let port = v4.local_address().port();
        // More than once: a header that was not ready for its second datagram would show.
        for round in 0..3 {
            for ip in ["127.0.0.1", "127.0.0.2"] {
                let to = SocketAddr::new(ip.parse().unwrap(), port);
                assert_eq!(ask(&mut v4, "127.0.0.3:0", to).await, (b"answer".to_vec(), to), "round {round}");
            }
        }
        let mut v6 = socket("[::]:0");
        let to = SocketAddr::new("::1".parse().unwrap(), v6.local_address().port());
        assert_eq!(ask(&mut v6, "[::1]:0", to).await, (b"answer".to_vec(), to));
    });
}

#[test]
fn both_wildcards_share_a_port_number() {
    on_a_loop(async {
        let v4 = socket("0.0.0.0:0");
        let _v6 = socket(&format!("[::]:{}", v4.local_address().port()));
    });
}

#[test]
fn a_burst_comes_in_batches_and_is_answered_whole() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        on_a_loop(async {
            let mut socket = socket(address);
            let to = SocketAddr::new("127.0.0.1".parse().unwrap(), socket.local_address().port());
            let peer = peer("127.0.0.1:0");
            socket2::SockRef::from(&peer).set_recv_buffer_size(4 << 20).unwrap();
            let mut received = 0_u32;
            for half in 0..2_u32 {
                for number in half * 500..(half + 1) * 500 {
                    peer.send_to(&number.to_be_bytes(), to).unwrap();
                }
                let mut queue = VecDeque::new();
                while received < (half + 1) * 500 {
                    let batch = receive_once(&mut socket).await;
                    assert!(!batch.is_empty() && batch.len() <= BATCH);
                    for seen in batch {
                        assert_eq!((seen.bytes.as_slice(), seen.local), (&received.to_be_bytes()[..], to));
                        queue.push_back(Outgoing { bytes: seen.bytes.into(), peer: seen.peer, local: seen.local });
                        received += 1;
                    }
                }
                while !queue.is_empty() {
                    let report = socket.send_batch(&mut queue).unwrap();
                    assert_eq!(report.failed, 0, "{report:?}");
                    poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
                }
                let mut buffer = [0; 64];
                for number in half * 500..(half + 1) * 500 {
                    assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
                    assert_eq!(buffer[..4], number.to_be_bytes());
                }
            }
        });
    }
}

#[test]
fn a_datagram_longer_than_a_packet_may_be_is_marked() {
    on_a_loop(async {
        let mut socket = socket("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        for length in [MAX_PACKET, MAX_PACKET + 1, 0, 20] {
            peer.send_to(&vec![7; length], socket.local_address()).unwrap();
        }
        let seen = receive_once(&mut socket).await;
        let shape: Vec<_> = seen.iter().map(|seen| (seen.bytes.len(), seen.truncated)).collect();
        assert_eq!(shape, [(MAX_PACKET, false), (MAX_PACKET, true), (0, false), (20, false)]);
    });
}

#[test]
fn a_datagram_that_cannot_be_sent_does_not_hold_up_the_others() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        on_a_loop(async {
            let mut socket = socket(address);
            poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
            let local = SocketAddr::new("127.0.0.1".parse().unwrap(), socket.local_address().port());
            let peer = peer("127.0.0.1:0");
            let to = peer.local_addr().unwrap();
            let good = |text: &[u8]| Outgoing { bytes: Arc::from(text), peer: to, local };
            let too_long = Outgoing { bytes: vec![0; 70_000].into(), peer: to, local };
            let nowhere = Outgoing { bytes: Arc::from(&b"x"[..]), peer: "127.0.0.1:0".parse().unwrap(), local };
            let mut queue = VecDeque::from([too_long.clone(), good(b"one"), nowhere, good(b"two"), too_long]);
            let report = socket.send_batch(&mut queue).unwrap();
            assert_eq!((report.sent, report.failed, queue.len()), (2, 3, 0), "{report:?}");
            assert!(report.failure.is_some());
            let mut buffer = [0; 64];
            assert_eq!(peer.recv(&mut buffer).unwrap(), 3);
            assert_eq!(&buffer[..3], b"one");
            assert_eq!(peer.recv(&mut buffer).unwrap(), 3);
            assert_eq!(&buffer[..3], b"two");
        });
    }
}

#[test]
fn a_peer_that_is_gone_does_not_end_the_listener() {
    on_a_loop(async {
        let mut socket = socket("127.0.0.1:0");
        poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
        let gone = peer("127.0.0.1:0").local_addr().unwrap();
        let local = socket.local_address();
        let mut queue: VecDeque<_> =
            (0..3).map(|_| Outgoing { bytes: Arc::from(&b"x"[..]), peer: gone, local }).collect();
        socket.send_batch(&mut queue).unwrap();
        let to = socket.local_address();
        assert_eq!(ask(&mut socket, "127.0.0.1:0", to).await.1, to);
    });
}

#[test]
fn two_sockets_share_a_port_and_all_datagrams_arrive_at_one_or_the_other() {
    on_a_loop(async {
        let group = Bound::bind_group("127.0.0.1:0".parse().unwrap(), 2, BUFFERS).unwrap();
        let mut sockets = group.into_iter().map(|bound| UdpSocket::new(bound).unwrap());
        let (mut a, mut b) = (sockets.next().unwrap(), sockets.next().unwrap());
        let to = a.local_address();
        for _ in 0..200 {
            peer("127.0.0.1:0").send_to(b"x", to).unwrap();
        }
        let mut counts = [0, 0];
        while counts[0] + counts[1] < 200 {
            tokio::select! {
                seen = receive_once(&mut a) => counts[0] += seen.len(),
                seen = receive_once(&mut b) => counts[1] += seen.len(),
            }
        }
        assert!(counts[0] > 0 && counts[1] > 0, "both take part: {counts:?}");
    });
}
