//! The same network behind a port, for seeds in real time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use http_body::Frame;
use tokio::net::TcpListener;

use crate::network::Network;

impl Network {
    /// Listens on a port, and answers where.
    pub(crate) async fn listen(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let network = self.clone();
        let app = Router::new().fallback(move |request: Request| async move {
            let target = request.headers()["x-amz-target"].to_str().expect("a target").to_owned();
            let body = to_bytes(request.into_body(), usize::MAX).await.expect("a body");
            let answer = Response::builder().header("content-type", "application/x-amz-json-1.0");
            let answer = match network.pass(target, body.to_vec()).await {
                Some((status, json)) => answer.status(status).body(Body::from(json)),
                // A body that fails ends the connection.
                None => answer.body(Body::new(Broken)),
            };
            answer.expect("an answer")
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        endpoint
    }
}

struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Err("the connection ends")))
    }
}
