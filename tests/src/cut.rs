//! A cable to a TCP server that a test can cut and mend.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A cable. Whoever connects to its end gets to the server while it is whole.
pub struct Cut {
    address: SocketAddr,
    whole: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cut {
    /// A whole one, to `server`.
    ///
    /// # Panics
    ///
    /// Loopback has no port left.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((crate::setup::own_address(), 0)).expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("it is ours");
        let (whole, streams) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let cut = Self { address, whole: whole.clone(), streams: streams.clone() };
        std::thread::spawn(move || {
            let mut listener = Some(listener);
            loop {
                crate::wait::pass(Duration::from_millis(2));
                if !whole.load(Ordering::SeqCst) {
                    listener = None;
                } else if listener.is_none() {
                    listener = TcpListener::bind(address).ok().filter(|new| new.set_nonblocking(true).is_ok());
                }
                let Some((near, _)) = listener.as_ref().and_then(|listener| listener.accept().ok()) else { continue };
                let Ok(far) = TcpStream::connect(server) else { continue };
                let ends = [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())];
                streams.lock().expect("nobody panics with it").extend([near, far]);
                for end in ends {
                    if let (Ok(mut from), Ok(mut to)) = end {
                        std::thread::spawn(move || {
                            let _ = from.set_nonblocking(false);
                            let _ = io::copy(&mut from, &mut to);
                            let _ = to.shutdown(Shutdown::Both);
                        });
                    }
                }
            }
        });
        cut
    }

    /// Its end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it: what goes through ends, and nothing new gets through.
    pub fn cut(&self) {
        self.whole.store(false, Ordering::SeqCst);
        for stream in self.streams.lock().expect("nobody panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Mends it.
    pub fn mend(&self) {
        self.whole.store(true, Ordering::SeqCst);
    }
}
