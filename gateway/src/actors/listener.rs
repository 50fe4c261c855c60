//! One socket on one thread: datagrams in, the checks that cost nothing, an exchange for each new request, replies out.

use super::delayed::Delayed;
use super::exchange::{Entropy, Exchange};
use super::keeper::Guard;
use super::messages::{Batch, Datagram, Due, Forwarded, Replied};
use crate::clock;
use crate::learned::Lesson;
use crate::listen::reply_to::ReplyTo;
use crate::listen::udp::{Bound, Outgoing, UdpSocket};
use crate::node::{Active, Node};
use crate::peers::Answered;
use crate::permits::Permit;
use crate::telemetry::metrics::ClientMeters;
use actix::prelude::*;
use futures_util::Stream;
use gateway_core::config::{Client, Require};
use gateway_core::event::Event;
use gateway_core::exchange::admission::{Admission, Kind, admit};
use gateway_core::exchange::duplicates::{Duplicates, End, Key, Seen};
use gateway_core::exchange::{PACKET_DEADLINE, Request, digest};
use gateway_core::radius::{Attributes, Code, Framed, Malformed, Packet, encode_reply};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// The node that waits for what becomes of a packet which it received.
type Asked = Option<oneshot::Sender<Answered>>;

pub(super) type Outbox = Rc<RefCell<VecDeque<Outgoing>>>;

/// Replies that may wait for the kernel. Beyond it they are dropped: the NAS asks again and gets them from the duplicate table.
pub(super) const OUTBOX: usize = 65_536;

/// Refusals whose time has come leave together: a timer for each would cost more than they do.
const TICK: Duration = Duration::from_millis(5);

/// One socket on one thread.
pub struct Listener {
    node: Arc<Node>,
    bound: Option<Bound>,
    label: String,
    thread: u16,
    duplicates: Duplicates,
    outbox: Outbox,
    delayed: Delayed<(Replied, Permit)>,
    alarm: Option<SpawnHandle>,
    entropy: Entropy,
    meters: HashMap<Arc<str>, ClientMeters>,
    guard: Option<Guard>,
    serving: bool,
    /// The secret that each source last proved, for clients with two.
    last_secret: HashMap<IpAddr, usize>,
    /// Status-Server packets of each client in this second.
    status: HashMap<Arc<str>, (u64, u32)>,
}

impl Listener {
    /// For a socket that is bound already; start it on the thread that serves it.
    pub fn new(node: Arc<Node>, bound: Bound, thread: u16) -> Self {
        let limits = node.active().setting.config.limits.clone();
        Self {
            label: bound.local_address().to_string(),
            node,
            bound: Some(bound),
            thread,
            duplicates: Duplicates::new(limits.cached_replies, limits.reply_lifetime),
            outbox: Outbox::default(),
            delayed: Delayed::default(),
            alarm: None,
            entropy: Entropy::default(),
            meters: HashMap::new(),
            guard: None,
            serving: false,
            last_secret: HashMap::new(),
            status: HashMap::new(),
        }
    }

    fn receive(&mut self, datagram: Datagram, active: &Arc<Active>, now: Timestamp, ctx: &Context<Self>) {
        let source = datagram.peer;
        let Some(client) = active.clients.find(source.ip()).cloned() else {
            let reason = Reason::UnknownClient;
            return self.node.observer.observe(Event::Dropped { client: None, source, reason, detail: None }, now);
        };
        if let Err((reason, detail)) = self.admit(datagram, &client, active, now, ctx, &mut None) {
            self.node
                .observer
                .observe(Event::Dropped { client: Some(client.name.clone()), source, reason, detail }, now);
        }
    }

    fn admit(
        &mut self,
        datagram: Datagram,
        client: &Arc<Client>,
        active: &Arc<Active>,
        now: Timestamp,
        ctx: &Context<Self>,
        asked: &mut Asked,
    ) -> Result<(), (Reason, Option<&'static str>)> {
        let Datagram { bytes, peer, local, truncated } = datagram;
        if truncated {
            return Err((Reason::Oversized, None));
        }
        let malformed = |fault: Malformed| (Reason::Malformed, Some(fault.label()));
        let Framed { packet, fault } = Packet::frame(&bytes).and_then(Framed::provable).map_err(malformed)?;
        let known = self.node.learned.source(peer.ip(), self.last_secret.get(&peer.ip()).copied().unwrap_or(0));
        let admission = admit(&packet, client, known).map_err(|reason| (reason, None))?;
        let refusal = admission.fault(fault).map_err(malformed)?;
        self.learn(peer.ip(), client, admission, known.signs);
        if admission.kind == Kind::Status && asked.is_none() {
            return self.answer_status(&packet, client, admission, (peer, local), active, now);
        }
        self.meters(&client.name).access_requests.inc();

        let key = Key { source: peer, local, identifier: packet.identifier() };
        let digest = digest(&packet, client, peer);
        self.duplicates.expire(now);
        match self.duplicates.look(&key, digest) {
            Seen::New => {}
            seen => {
                match asked.take() {
                    None => self.duplicate(seen, client, &key, now),
                    Some(answer) => {
                        let end = if let Seen::Finished(reply) = seen { End::Replied(reply) } else { End::Forgotten };
                        let _ = answer.send(Ok((end, None)));
                    }
                }
                return Ok(());
            }
        }
        if self.node.is_draining() {
            return Err((Reason::Draining, None));
        }
        let limit = active.setting.config.limits.in_progress;
        let permit = self.node.permit(&client.name, limit).ok_or((Reason::Overload, None))?;
        let secret = client.secrets.get(admission.secret).ok_or((Reason::BadMessageAuthenticator, None))?;
        let mut request =
            Request::read(&packet, digest, client.clone(), (secret, admission.proved), peer, self.thread, now);
        request.refuse(refusal);
        if active.setting.config.reads_attributes {
            request.keep_attributes(&packet);
        }
        if request.client.max_sessions.is_some() {
            request.sessions = self.node.accounting.count(&request.user_name, now);
        }
        request.locked = self.node.is_locked(&request.user_name, &active.setting);
        let serial = self.duplicates.begin(key, digest, now);
        let evicted = self.duplicates.take_evicted();
        if evicted > 0 {
            self.node.observer.metrics.limit_hits.with_label_values(&["cached_replies"]).inc_by(evicted);
        }
        let (listener, name) = (ctx.address().recipient(), client.name.clone());
        if asked.is_none()
            && let Some(owner) = self.node.elsewhere(request.state.as_deref())
        {
            let patience = client.answer_within.unwrap_or(active.setting.config.attempts.deadline).max(PACKET_DEADLINE);
            let datagram = Datagram { bytes, peer, local, truncated };
            let sent = self.node.send_elsewhere(&owner, &datagram, now, patience);
            super::forward::wait(sent, (self.node.clone(), permit), (listener, name, key, serial));
            return Ok(());
        }
        let reply_to = match asked.take() {
            None => ReplyTo::Udp { listener, client: name, key, serial },
            Some(answer) => ReplyTo::Peer { answer, listener, client: name, key, serial },
        };
        let shared = (self.node.clone(), active.clone());
        let entropy = self.entropy.clone();
        Exchange::new(request, bytes, admission.secret, reply_to, entropy, shared, permit).start();
        Ok(())
    }

    /// What a proved packet teaches about its source. Only whoever has the secret can prove one, so the tables are bounded by
    /// the clients' networks, and by `limits.learned_sources` beside.
    fn learn(&mut self, source: IpAddr, client: &Client, admission: Admission, signs: bool) {
        if !admission.proved {
            return;
        }
        let limit = self.node.active().setting.config.limits.learned_sources;
        if client.secrets.len() > 1 && (self.last_secret.len() < limit || self.last_secret.contains_key(&source)) {
            self.last_secret.insert(source, admission.secret);
        }
        // Status-Server must be signed by everybody (RFC 5997 §3): it says nothing about Access-Requests.
        if client.require_message_authenticator != Require::Auto || signs || admission.kind != Kind::Access {
            return;
        }
        match self.node.learned.learn(source) {
            Lesson::New => {
                tracing::info!(
                    %source, client = &*client.name,
                    "this source signs its requests: unsigned ones are dropped from now on"
                );
                let node = self.node.clone();
                // What cannot be written now is tried again and told by the reloader.
                drop(actix_rt::task::spawn_blocking(move || node.learned.persist()));
            }
            Lesson::Known => {}
            Lesson::Full => {
                self.node.observer.metrics.limit_hits.with_label_values(&["learned_sources"]).inc();
            }
        }
    }

    fn duplicate(&mut self, seen: Seen, client: &Client, key: &Key, now: Timestamp) {
        let replayed = match seen {
            Seen::Finished(bytes) => {
                self.send(Outgoing { bytes, peer: key.source, local: key.local }, &client.name);
                true
            }
            Seen::InProgress | Seen::New => {
                if let Some(interval) = self.duplicates.repeated(key, now) {
                    let gauge = &self.node.observer.metrics.nas_retransmission;
                    gauge.with_label_values(&[&client.name]).set(interval.as_secs_f64());
                }
                false
            }
        };
        self.node.observer.observe(Event::Duplicate { client: client.name.clone(), replayed }, now);
    }

    fn answer_status(
        &mut self,
        packet: &Packet<'_>,
        client: &Arc<Client>,
        admission: Admission,
        (peer, local): (SocketAddr, SocketAddr),
        active: &Active,
        now: Timestamp,
    ) -> Result<(), (Reason, Option<&'static str>)> {
        self.meters(&client.name).status_servers.inc();
        if self.node.is_draining() {
            // Silence sends the NAS to another server.
            return Err((Reason::Draining, None));
        }
        let (second, count) = self.status.entry(client.name.clone()).or_default();
        if *second != now.as_secs() {
            (*second, *count) = (now.as_secs(), 0);
        }
        *count = count.saturating_add(1);
        if *count > active.setting.config.limits.status_server_rate {
            self.node.observer.metrics.limit_hits.with_label_values(&["status_server_rate"]).inc();
            return Err((Reason::RateLimited, None));
        }
        let secret = client.secrets.get(admission.secret).ok_or((Reason::BadMessageAuthenticator, None))?;
        let reply = encode_reply(Code::ACCESS_ACCEPT, packet, &Attributes::new(), secret)
            .map_err(|_| (Reason::ReplyTooLong, None))?;
        self.send(Outgoing { bytes: reply.into(), peer, local }, &client.name);
        self.node.observer.observe(Event::StatusServer { client: client.name.clone() }, now);
        Ok(())
    }

    fn send(&mut self, outgoing: Outgoing, client: &Arc<str>) {
        let code = outgoing.bytes.first().copied().map(Code::from);
        let meters = self.meters(client);
        match code {
            Some(Code::ACCESS_ACCEPT) => meters.accepts.inc(),
            Some(Code::ACCESS_CHALLENGE) => meters.challenges.inc(),
            _ => meters.rejects.inc(),
        }
        let mut outbox = self.outbox.borrow_mut();
        if outbox.len() < OUTBOX {
            outbox.push_back(outgoing);
        } else {
            self.node.observer.metrics.send_failures.inc();
        }
    }

    fn meters(&mut self, client: &Arc<str>) -> &ClientMeters {
        let (metrics, label) = (&self.node.observer.metrics, &self.label);
        self.meters.entry(client.clone()).or_insert_with(|| ClientMeters::new(metrics, label, client))
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(bound) = self.bound.take() else { return ctx.stop() };
        let (node, thread) = (self.node.clone(), self.thread);
        let (address, buffers) = (bound.local_address(), bound.obtained());
        let again = move || match Bound::bind(address, buffers) {
            Ok(bound) => drop(Self::new(node, bound, thread).start()),
            // Readiness says that a socket is missing.
            Err(error) => tracing::error!(%address, %error, "the socket cannot be bound again"),
        };
        self.guard = Some(Guard::new(self.node.clone(), format!("listener {}", self.label), again));
        match UdpSocket::new(bound) {
            Ok(socket) => {
                ctx.add_stream(Datagrams::new(socket, self.outbox.clone(), self.node.clone()));
                self.node.listeners.add(address, thread, ctx.address().recipient());
                self.serving = true;
                self.node.listening.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(listener = self.label, %error, "the socket cannot be served");
                ctx.stop();
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.serving {
            self.node.listening.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl StreamHandler<Batch> for Listener {
    fn handle(&mut self, Batch(datagrams): Batch, ctx: &mut Context<Self>) {
        let (active, now) = (self.node.active().clone(), clock::now());
        let limits = &active.setting.config.limits;
        self.duplicates.set_limits(limits.cached_replies, limits.reply_lifetime);
        for datagram in datagrams {
            self.receive(datagram, &active, now, ctx);
        }
    }

    /// The socket has failed: its keeper binds another.
    fn finished(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Replied> for Listener {
    type Result = ();

    fn handle(&mut self, replied: Replied, ctx: &mut Context<Self>) {
        let now = clock::now();
        if replied.elsewhere {
            let Replied { key, serial, end, .. } = replied;
            self.duplicates.finish(key, serial, end, now);
            return;
        }
        let waits = replied.not_before.filter(|time| now < *time);
        match waits.and_then(|time| Some((time, self.may_delay(&replied.client)?))) {
            Some((time, place)) => {
                let first = self.delayed.next();
                self.delayed.put(time, (replied, place));
                if first.is_none_or(|first| time < first) {
                    self.wake(now, ctx);
                }
            }
            None => self.finish(replied, now),
        }
    }
}

impl Listener {
    /// A place for one more refusal to wait in. Beyond the limit, refusals of the client that floods the node are sent without delay.
    fn may_delay(&self, client: &Arc<str>) -> Option<Permit> {
        if self.node.is_draining() {
            return None;
        }
        let place = self.node.delayed.take(client, self.node.active().setting.config.limits.delayed_rejects);
        if place.is_none() {
            self.node.observer.metrics.limit_hits.with_label_values(&["delayed_rejects"]).inc();
        }
        place
    }

    fn wake(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        if let Some(earlier) = self.alarm.take() {
            ctx.cancel_future(earlier);
        }
        let next = self.delayed.next();
        // Told by the mailbox, after which the socket is polled and the replies leave; it is not after a timer.
        self.alarm = next.map(|time| ctx.run_later(time.since(now).max(TICK), |_, ctx| ctx.address().do_send(Due)));
    }

    fn finish(&mut self, Replied { key, client, serial, end, .. }: Replied, now: Timestamp) {
        if let Some(patience) = self.duplicates.gave_up(&key, serial, now) {
            self.node.observer.nas_gave_up(&client, patience);
        }
        let wanted = self.duplicates.finish(key, serial, end.clone(), now);
        match end {
            End::Replied(bytes) if wanted => self.send(Outgoing { bytes, peer: key.source, local: key.local }, &client),
            End::Replied(_) => {
                let (source, reason) = (key.source, Reason::SupersededDuplicate);
                self.node.observer.observe(Event::Dropped { client: Some(client), source, reason, detail: None }, now);
            }
            End::Forgotten | End::Discarded => {}
        }
    }
}

impl Handler<Forwarded> for Listener {
    type Result = ();

    /// As if the packet had come to the socket, but for where the reply goes.
    fn handle(&mut self, Forwarded { datagram, received, answer }: Forwarded, ctx: &mut Context<Self>) {
        let active = self.node.active().clone();
        let (source, mut asked) = (datagram.peer, Some(answer));
        let client = active.clients.find(source.ip()).cloned();
        let admitted = match &client {
            Some(client) => self.admit(datagram, client, &active, received, ctx, &mut asked),
            None => Err((Reason::UnknownClient, None)),
        };
        if let Err((reason, detail)) = admitted {
            let client = client.map(|client| client.name.clone());
            self.node.observer.observe(Event::Dropped { client, source, reason, detail }, clock::now());
            if let Some(answer) = asked {
                let _ = answer.send(Err(reason));
            }
        }
    }
}

impl Handler<Due> for Listener {
    type Result = ();

    fn handle(&mut self, _: Due, ctx: &mut Context<Self>) {
        let now = clock::now();
        self.alarm = None;
        while let Some((replied, _place)) = self.delayed.take(now) {
            self.finish(replied, now);
        }
        self.wake(now, ctx);
    }
}

/// The socket as a stream. Replies leave whenever it is polled, and the actor polls it after its mailbox: what many exchanges
/// answered meanwhile goes out in one call. After each batch it rests once, so that exchanges on this thread get their
/// turn (an actor polls a ready stream for ever).
pub(super) struct Datagrams {
    socket: UdpSocket,
    outbox: Outbox,
    node: Arc<Node>,
    rest: bool,
}

impl Datagrams {
    /// Of `socket`; what is put into `outbox` is sent.
    pub(super) fn new(socket: UdpSocket, outbox: Outbox, node: Arc<Node>) -> Self {
        Self { socket, outbox, node, rest: false }
    }

    fn flush(&mut self, cx: &mut TaskContext<'_>) -> io::Result<()> {
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            let report = self.socket.send_batch(&mut outbox)?;
            if report.failed > 0 {
                self.node.observer.metrics.send_failures.inc_by(report.failed as u64);
                if let Some((peer, error)) = report.failure {
                    tracing::debug!(%peer, %error, "a reply could not be sent");
                }
            }
            if report.would_block && self.socket.poll_writable(cx)?.is_pending() {
                break;
            }
        }
        Ok(())
    }
}

impl Stream for Datagrams {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Batch>> {
        let this = self.get_mut();
        if let Err(error) = this.flush(cx) {
            tracing::error!(listener = %this.socket.local_address(), %error, "the socket has failed");
            return Poll::Ready(None);
        }
        if std::mem::take(&mut this.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut batch = Vec::new();
        let received = this.socket.poll_receive(cx, |datagram| {
            let (peer, local, truncated) = (datagram.peer, datagram.local, datagram.truncated);
            batch.push(Datagram { bytes: datagram.bytes.into(), peer, local, truncated });
        });
        match received {
            Poll::Ready(Ok(_)) => {
                this.rest = true;
                Poll::Ready(Some(Batch(batch)))
            }
            Poll::Ready(Err(error)) => {
                tracing::error!(listener = %this.socket.local_address(), %error, "the socket has failed");
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
