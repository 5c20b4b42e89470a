//! What the server counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cordboard_model::measure::{Histogram, TRANSACTION_BOUNDS};
use hyper::{Method, StatusCode};

use crate::metric::HttpCounts;

/// Counters that all connections share.
#[derive(Default)]
pub(super) struct Counters {
    counts: Mutex<HttpCounts>,
    connections: AtomicUsize,
}

/// One open connection.
pub(super) struct Open<'c>(&'c Counters);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// Counts a connection as open until the result is dropped.
    pub(super) fn open(&self) -> Open<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    /// Counts a request.
    pub(super) fn request(&self, route: &'static str, method: &Method, status: StatusCode, span: Duration) {
        let key = (route, method_label(method), class(status));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = counts
            .requests
            .entry(key)
            .or_insert_with(|| Histogram::new(TRANSACTION_BOUNDS));
        histogram.record_duration(span);
    }

    /// Counts a connection that was closed without an answer.
    pub(super) fn refused(&self, reason: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.refused.entry(reason).or_default() += 1;
    }

    /// What was counted so far.
    pub(super) fn snapshot(&self) -> HttpCounts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        HttpCounts {
            connections: self.connections.load(Ordering::Relaxed),
            ..counts
        }
    }
}

/// Methods that clients make up share a label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

const fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
