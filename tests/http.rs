//! One HTTP/1.1 request and its answer, by hand: what `curl` would do.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Status, head and body of an answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The status line and the headers, as they came.
    pub head: String,
    /// The body, chunks joined.
    pub body: String,
}

/// `GET path` at `server`.
///
/// # Errors
/// Nobody answers, or not HTTP.
pub fn get(server: SocketAddr, path: &str) -> io::Result<Answer> {
    get_with(server, path, "Accept: */*")
}

/// The same with a header, a line without its end.
///
/// # Errors
/// Nobody answers, or not HTTP.
pub fn get_with(server: SocketAddr, path: &str, header: &str) -> io::Result<Answer> {
    ask(server, &format!("GET {path} HTTP/1.1\r\n{header}\r\n"), "")
}

/// `POST path` at `server`, with further headers (each with its line end) and a JSON body.
///
/// # Errors
/// Nobody answers, or not HTTP.
pub fn post(server: SocketAddr, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    ask(server, &head, body)
}

fn ask(server: SocketAddr, head: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!("{head}Host: {server}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("no HTTP answer"))?;
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|c| c.parse().ok())
        .ok_or_else(|| io::Error::other("no status"))?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { join(body) } else { body.to_owned() };
    Ok(Answer {
        code,
        head: head.to_owned(),
        body,
    })
}

/// Joins the chunks of a chunked body; stops at the first thing that is none.
fn join(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        let Some(chunk) = after.get(..size).filter(|c| !c.is_empty()) else {
            break;
        };
        body.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or("");
    }
    body
}

/// The sum of all samples of a metric whose line starts with `name` and holds every one of `labels`.
pub fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of_name = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    text.lines()
        .filter(of_name)
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_samples_summed() {
        assert_eq!(join("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
        let text = "# HELP x_total y\nx_total{a=\"1\",b=\"2\"} 3\nx_total{a=\"1\",b=\"3\"} 4\nx_total_more 9\nx_total 1\n";
        assert_eq!(metric(text, "x_total", &[]), 8.0);
        assert_eq!(metric(text, "x_total", &["a=\"1\"", "b=\"3\""]), 4.0);
    }
}
