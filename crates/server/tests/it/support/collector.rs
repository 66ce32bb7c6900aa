//! A collector of traces that reads OTLP by protobuf's own rules, without the code that wrote it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use orrery_server::TraceSettings;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// One field of a message.
#[derive(Debug, Clone)]
enum Wire {
    Number(u64),
    Bytes(Vec<u8>),
}

/// The fields of a message, in order.
struct Message(Vec<(u64, Wire)>);

impl Message {
    fn read(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let value = match tag & 7 {
                0 => Wire::Number(varint(&mut bytes)),
                1 => Wire::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().expect("eight"))),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    Wire::Bytes(take(&mut bytes, length).to_vec())
                }
                5 => Wire::Number(u64::from(u32::from_le_bytes(take(&mut bytes, 4).try_into().expect("four")))),
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, value));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(field, _)| *field == number).map(move |(_, value)| match value {
            Wire::Bytes(bytes) => bytes.as_slice(),
            Wire::Number(_) => panic!("field {number} is a number"),
        })
    }

    fn bytes(&self, number: u64) -> &[u8] {
        self.all(number).next().unwrap_or_default()
    }

    fn text(&self, number: u64) -> String {
        String::from_utf8(self.bytes(number).to_vec()).expect("UTF-8")
    }

    fn number(&self, number: u64) -> u64 {
        let found = self.0.iter().find(|(field, _)| *field == number);
        found.map_or(0, |(_, value)| match value {
            Wire::Number(value) => *value,
            Wire::Bytes(_) => panic!("field {number} is bytes"),
        })
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(count);
    *bytes = rest;
    front
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
    }
    panic!("a varint without end");
}

#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    pub name: String,
    pub kind: u64,
    pub start: u64,
    pub end: u64,
    pub is_error: bool,
    pub is_remote: bool,
    /// As text: `7`, `0.5`, `true`, `[stop,length]`.
    pub attributes: BTreeMap<String, String>,
    /// The resource's.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    fn read(bytes: &[u8], resource: &BTreeMap<String, String>) -> Self {
        let span = Message::read(bytes);
        let flags = span.number(16);
        assert_eq!(flags & 0x101, 0x101, "sampled, and whether the parent is remote is known");
        Self {
            trace: hex(span.bytes(1)),
            id: hex(span.bytes(2)),
            parent: hex(span.bytes(4)),
            state: span.text(3),
            name: span.text(5),
            kind: span.number(6),
            start: span.number(7),
            end: span.number(8),
            is_error: Message::read(span.bytes(15)).number(3) == 2,
            is_remote: flags & 0x200 != 0,
            attributes: attributes(&span, 9),
            resource: resource.clone(),
        }
    }

    #[track_caller]
    pub fn has(&self, key: &str, value: &str) {
        assert_eq!(self.attributes.get(key).map(String::as_str), Some(value), "{key} of {self:#?}");
    }
}

fn attributes(message: &Message, number: u64) -> BTreeMap<String, String> {
    let pair = |bytes| {
        let pair = Message::read(bytes);
        (pair.text(1), value(pair.bytes(2)))
    };
    message.all(number).map(pair).collect()
}

fn value(bytes: &[u8]) -> String {
    let message = Message::read(bytes);
    let (field, value_of) = message.0.first().expect("a value");
    match (field, value_of) {
        (1, Wire::Bytes(text)) => String::from_utf8(text.clone()).expect("UTF-8"),
        (2, Wire::Number(flag)) => (*flag == 1).to_string(),
        (3, Wire::Number(number)) => number.cast_signed().to_string(),
        (4, Wire::Number(bits)) => f64::from_bits(*bits).to_string(),
        (5, Wire::Bytes(list)) => {
            let items: Vec<String> = Message::read(list).all(1).map(value).collect();
            format!("[{}]", items.join(","))
        }
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Clone, Default)]
pub struct Taken {
    pub spans: Vec<Span>,
    pub raw: Vec<u8>,
    pub posts: usize,
    pub headers: HeaderMap,
}

impl Taken {
    /// The only span with this name.
    #[track_caller]
    pub fn one(&self, name: &str) -> Span {
        let found: Vec<&Span> = self.spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} in {:#?}", self.spans);
        found[0].clone()
    }
}

/// What the collector answers.
#[derive(Debug, Clone)]
pub enum Answer {
    Ok,
    /// It says that it has not taken so many spans.
    Rejects(u8),
    Status(u16),
    /// Nothing, ever.
    Silence,
}

pub struct Collector {
    address: std::net::SocketAddr,
    taken: watch::Receiver<Taken>,
    pub answer: watch::Sender<Answer>,
}

#[derive(Clone)]
struct Shared {
    taken: Arc<watch::Sender<Taken>>,
    answer: watch::Receiver<Answer>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, taken) = watch::channel(Taken::default());
        let (answer, answers) = watch::channel(Answer::Ok);
        let shared = Shared { taken: Arc::new(sender), answer: answers };
        let router = Router::new().route("/v1/traces", post(collect)).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await.expect("a collector") });
        Self { address, taken, answer }
    }

    /// Everything goes here, soon.
    pub fn settings(&self) -> TraceSettings {
        TraceSettings { batch_ms: 10, ..TraceSettings::to(format!("http://{}/v1/traces", self.address)) }
    }

    pub fn taken(&self) -> Taken {
        self.taken.borrow().clone()
    }

    /// Waits until this is so.
    pub async fn until(&self, is_so: impl FnMut(&Taken) -> bool) -> Taken {
        let mut taken = self.taken.clone();
        let waited = tokio::time::timeout(super::PATIENCE, taken.wait_for(is_so)).await;
        waited.unwrap_or_else(|_| panic!("in time: {:#?}", self.taken().spans)).expect("a collector").clone()
    }
}

async fn collect(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    let request = Message::read(&body);
    let mut spans = Vec::new();
    for resource_spans in request.all(1).map(Message::read) {
        let resource = attributes(&Message::read(resource_spans.bytes(1)), 1);
        for scope_spans in resource_spans.all(2).map(Message::read) {
            assert_eq!(Message::read(scope_spans.bytes(1)).text(1), "orrery");
            spans.extend(scope_spans.all(2).map(|bytes| Span::read(bytes, &resource)));
        }
    }
    shared.taken.send_modify(|taken| {
        taken.posts += 1;
        taken.headers = headers;
        taken.raw.extend_from_slice(&body);
        taken.spans.append(&mut spans);
    });
    let answer = shared.answer.borrow().clone();
    match answer {
        Answer::Ok => (StatusCode::OK, Vec::new()),
        Answer::Rejects(count) => (StatusCode::OK, vec![0x0a, 2, 0x08, count]),
        Answer::Status(status) => (StatusCode::from_u16(status).expect("a status"), Vec::new()),
        Answer::Silence => std::future::pending().await,
    }
}
