//! Answers that end: a server that somebody else runs must not fill our memory. No IO of its own.
//!
//! kube collects answers whole and reads the events of a watch line by line, both without a limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Request;
use http_body::{Frame, SizeHint};
use kube::client::Body;
use tower::BoxError;

use crate::transport::{Answer, Transport};

/// No answer that makes sense is longer; long lists are asked for in pages.
const LONGEST_ANSWER: usize = 64 << 20;
/// No event of a watch is longer: API servers store 1.5 MiB per object. A little more than the 16 MiB
/// that the sync engine takes, so that it can say so itself.
const LONGEST_LINE: usize = 17 << 20;

/// Somebody sends more than anybody needs.
#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {most} bytes")]
struct TooLong {
    most: usize,
}

/// The same way, whose answers are bounded.
pub(crate) fn transport(inner: Transport) -> Transport {
    let namespace = inner.default_namespace().to_owned();
    let bounding = tower::service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        let watch = is_watch(&request);
        async move {
            let response = inner.send(request).await?;
            // What is not a success is collected, whatever was asked for.
            let limit = Limit::of(watch && response.status().is_success());
            Ok(response.map(|inner| Bounded { inner, limit }))
        }
    });
    Transport::new(bounding, namespace)
}

fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|part| part == "watch=true")
}

/// What may still come.
#[derive(Debug)]
struct Limit {
    /// Of the whole answer, or of one line.
    most: usize,
    /// Whether it begins anew with each line.
    lines: bool,
    seen: usize,
}

impl Limit {
    fn of(watch: bool) -> Self {
        Self {
            most: if watch { LONGEST_LINE } else { LONGEST_ANSWER },
            lines: watch,
            seen: 0,
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), TooLong> {
        let ends = |byte: &u8| *byte == b'\n';
        let first = data.iter().position(ends).filter(|_| self.lines);
        self.seen = self.seen.saturating_add(first.unwrap_or(data.len()));
        let most = self.most;
        if self.seen > most {
            return Err(TooLong { most });
        }
        // Whole lines in between are no longer than what the connection reads at a time.
        if first.is_some() {
            self.seen = data.iter().rev().take_while(|byte| !ends(byte)).count();
        }
        Ok(())
    }
}

struct Bounded {
    inner: Answer,
    limit: Limit,
}

impl http_body::Body for Bounded {
    type Data = <Answer as http_body::Body>::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            if let Some(data) = frame.data_ref() {
                this.limit.take(data)?;
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body as Answer;
    use futures::StreamExt;
    use futures::stream;
    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use kube::api::{ListParams, WatchParams};

    use super::*;
    use crate::client::{Options, from_safe};
    use crate::health;
    use crate::kubeconfig::{Policy, SafeKubeconfig, render};
    use crate::shutdown::Shutdown;

    /// What somebody does with a server that never stops talking, and never ends a line.
    async fn ask<T>(with: impl AsyncFnOnce(Api<Secret>) -> T) -> T {
        crate::tls::install_provider();
        let shutdown = Shutdown::new();
        let endless = || async {
            let bytes = || Ok::<_, std::io::Error>(vec![b' '; 1 << 20]);
            Answer::from_stream(stream::repeat_with(bytes))
        };
        let app = Router::new().fallback(endless);
        let bound = health::serve("127.0.0.1:0", app, &shutdown).await.unwrap();
        let yaml = render(&format!("http://{bound}"), None, None, "tenant", "t0ken");
        let policy = Policy {
            allow_insecure_tls: false,
            allow_http: true,
        };
        let kubeconfig = SafeKubeconfig::parse(yaml.as_bytes(), policy).unwrap();
        let client = from_safe(&kubeconfig, &Options::new("test")).unwrap();
        let limit = std::time::Duration::from_secs(30);
        let answer =
            tokio::time::timeout(limit, with(Api::default_namespaced(client.client()))).await;
        answer.expect("it ends")
    }

    fn says_so(error: &dyn std::error::Error) -> bool {
        let chain = std::iter::successors(Some(error), |error| error.source());
        chain
            .map(ToString::to_string)
            .any(|words| words.contains("has more than"))
    }

    #[tokio::test]
    async fn an_endless_answer_is_refused() {
        let params = ListParams::default();
        let list = ask(async |api| api.list(&params).await).await;
        let error = list.expect_err("it has no end");
        assert!(says_so(&error), "{error:?}");
    }

    #[tokio::test]
    async fn an_endless_event_is_refused() {
        let params = WatchParams::default();
        let event = ask(async |api| {
            let mut events = std::pin::pin!(api.watch(&params, "1").await.unwrap());
            events.next().await
        })
        .await;
        let error = event.expect("something").expect_err("it has no end");
        assert!(says_so(&error), "{error:?}");
    }

    #[test]
    fn a_watch_may_bring_any_number_of_events() {
        let mut watch = Limit::of(true);
        let mut line = vec![b'x'; LONGEST_LINE - 1];
        line.push(b'\n');
        for _ in 0..10 {
            assert!(watch.take(&line).is_ok());
        }
        assert!(watch.take(&line[..10]).is_ok());
        assert!(watch.take(&line).is_err(), "the line began before");
        let mut answer = Limit::of(false);
        let fits = (0..).take_while(|_| answer.take(&line).is_ok()).count();
        assert_eq!(fits, LONGEST_ANSWER / LONGEST_LINE);
    }
}
