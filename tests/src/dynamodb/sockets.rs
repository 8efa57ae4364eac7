//! A port in front of the fault engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http;
use http_body::Frame;
use tokio::net::TcpListener;

use super::{Request, Response};

/// Listens on a port, lets `answer` answer its requests, and returns the endpoint.
pub async fn listen<A>(answer: impl Fn(Request) -> A + Send + Sync + 'static) -> String
where
    A: Future<Output = Response> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = Arc::new(answer);
    let app = Router::new().fallback(move |request: http::Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.headers["x-amz-target"].to_str().expect("a target").to_owned();
            let body = to_bytes(body, usize::MAX).await.expect("a body");
            // A task, so that the request is executed even if its client disconnects.
            let response = tokio::spawn(answer(Request::new(target, parts.headers, &body)));
            render(response.await.ok().flatten())
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    endpoint
}

fn render(response: Response) -> http::Response<Body> {
    let builder = http::Response::builder().header("content-type", "application/x-amz-json-1.0");
    let response = match response {
        Some((status, body)) => builder.status(status).body(Body::from(body)),
        None => builder.body(Body::new(Broken)),
    };
    response.expect("a valid response")
}

/// A body that fails, which ends the connection.
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
