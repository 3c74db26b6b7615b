//! `GET /healthz` and `GET /api/healthz`: the listener answers. Readiness is on the operations listener.

/// What the original answers on `/healthz`.
pub async fn root() -> &'static str {
    "ok"
}

/// What it answers on `/api/healthz`: nothing.
pub async fn api() {}
