//! Cold start: from the start of the process to its first response, compared with the floor; and
//! the time of the TLS handshake.

use std::fs::read;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::Binaries;
use crate::chat::Chat;
use crate::lambda::{Function, trusted};
use crate::report::{Bar, Report, median, ms, number, table};

/// The measurements of one start.
struct Start {
    first_poll: Duration,
    first: Duration,
    later: Vec<Duration>,
    cpu_at_poll: Duration,
    cpu: Duration,
    peak: f64,
}

async fn start(binary: &Path, event: &str, endpoint: &str, trusted: &Path) -> Start {
    let mut function = Function::start(&[], binary, endpoint, trusted).await;
    let cpu_at_poll = function.used().cpu;
    let (first, _) = function.invoke(event).await;
    let used = function.used();
    let mut later = Vec::new();
    for _ in 0..10 {
        later.push(function.invoke(event).await.0);
    }
    Start {
        first_poll: function.first_poll,
        first,
        later,
        cpu_at_poll,
        cpu: used.cpu,
        peak: used.peak,
    }
}

/// Measures the first random bytes of this process. Call it before anything else.
pub(crate) fn first_random_bytes() -> Duration {
    let started = Instant::now();
    ring::default_provider().secure_random.fill(&mut [0; 32]).expect("random bytes");
    started.elapsed()
}

pub(crate) async fn run(
    binaries: &Binaries,
    starts: usize,
    first_random: Duration,
    report: &mut Report,
) {
    let chat = Chat::new().await;
    let event = chat.event();
    let plain = chat.serve().await;
    let tls = Tls::start(plain.trim_start_matches("http://").to_owned()).await;
    let trusted = trusted(tls.folder.path(), &tls.certificate);
    let mut seen: [Vec<Start>; 3] = Default::default();
    for _ in 0..starts {
        // In turns, so that other load on the machine affects all of them equally.
        seen[0].push(start(&binaries.floor, &event, &plain, &trusted).await);
        seen[1].push(start(&binaries.create_message, &event, &plain, &trusted).await);
        seen[2].push(start(&binaries.create_message, &event, &tls.endpoint, &trusted).await);
    }
    let sizes = [&binaries.floor, &binaries.create_message, &binaries.create_message]
        .map(|binary| zipped(binary));

    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |what: &str, unit: &str, of: &dyn Fn(&Start) -> Vec<f64>| {
        let medians = [0, 1, 2]
            .map(|which: usize| median(&mut seen[which].iter().flat_map(of).collect::<Vec<f64>>()));
        let mut cells = vec![what.to_owned()];
        cells.extend(medians.iter().map(|value| format!("{} {unit}", number(*value))));
        cells.push(number(medians[1] / medians[0]));
        cells.push(number(medians[2] / medians[0]));
        rows.push(cells);
        medians
    };
    let poll = row("exec → first poll", "ms", &|start| vec![ms(start.first_poll)]);
    row("CPU until then", "ms", &|start| vec![ms(start.cpu_at_poll)]);
    row("first invocation", "ms", &|start| vec![ms(start.first)]);
    row("later invocations", "ms", &|start| start.later.iter().copied().map(ms).collect());
    row("CPU until the first answer", "ms", &|start| vec![ms(start.cpu)]);
    let peak = row("peak memory", "MB", &|start| vec![start.peak / 1e6]);
    let mut cells = vec!["zip".to_owned()];
    cells.extend(sizes.iter().map(|size| format!("{} MB", number(size / 1e6))));
    cells.extend([number(sizes[1] / sizes[0]), number(sizes[2] / sizes[0])]);
    rows.push(cells);
    let head = ["", "floor", "create-message", "the same over TLS", "ratio", "ratio over TLS"];
    table(&format!("Cold start, medians of {starts} starts"), &head, &rows);

    report.bar("exec → first poll, by the floor's", poll[1] / poll[0], "×", Bar::AtMost(1.5));
    report.bar(
        "exec → first poll with a TLS handshake, by the floor's",
        poll[2] / poll[0],
        "×",
        Bar::AtMost(1.5),
    );
    report.bar("first random bytes", ms(first_random), "ms", Bar::AtMost(1.0));
    report.bar("zip", sizes[1] / 1e6, "MB", Bar::AtMost(2.2));
    report.bar("peak memory, by the floor's", peak[2] / peak[0], "×", Bar::AtMost(2.0));

    let before = tls.handshakes();
    let mut function =
        Function::start(&[], &binaries.create_message, &tls.endpoint, &trusted).await;
    let in_init = tls.handshakes() - before;
    function.invoke(&event).await;
    let in_first = tls.handshakes() - before - in_init;
    report.must(
        "TLS handshakes in init, and in the first invocation",
        format!("{in_init}, {in_first}"),
        "1, 0",
        (in_init, in_first) == (1, 0),
    );
}

/// Returns the size of a function's package, as `sam deploy` builds it.
fn zipped(binary: &Path) -> f64 {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bootstrap", SimpleFileOptions::default()).expect("a zip");
    std::io::Write::write_all(&mut zip, &read(binary).expect("a binary")).expect("a zip");
    zip.finish().expect("a zip").into_inner().len() as f64
}

/// HTTPS in front of an engine, with its own certificate.
struct Tls {
    endpoint: String,
    handshakes: Arc<AtomicUsize>,
    folder: TempDir,
    certificate: String,
}

impl Tls {
    async fn start(engine: String) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = signing_key.serialize_der().try_into().expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a key that fits");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint =
            format!("https://localhost:{}", listener.local_addr().expect("an address").port());
        let handshakes = Arc::new(AtomicUsize::new(0));
        let count = handshakes.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, engine, count) = (acceptor.clone(), engine.clone(), count.clone());
                tokio::spawn(async move {
                    stream.set_nodelay(true).expect("a socket");
                    let mut here = acceptor.accept(stream).await.expect("a handshake");
                    count.fetch_add(1, Ordering::SeqCst);
                    let mut there = TcpStream::connect(engine).await.expect("an engine");
                    there.set_nodelay(true).expect("a socket");
                    // The function ends without closing the connection.
                    drop(copy_bidirectional(&mut here, &mut there).await);
                });
            }
        });
        Self {
            endpoint,
            handshakes,
            folder: TempDir::new().expect("a folder"),
            certificate: cert.pem(),
        }
    }

    fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}
