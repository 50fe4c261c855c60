//! A scraper: the node's HTTP side, and the numbers of one scrape.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One scrape of `/metrics`.
pub struct Metrics {
    series: Vec<Series>,
    text: String,
}

struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads Prometheus' text format.
    ///
    /// # Panics
    ///
    /// It is not in that format.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { series: lines.map(series).collect(), text: text.to_owned() }
    }

    /// The sum of all series of this name whose labels include these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |series: &&Series| {
            series.name == name
                && labels.iter().all(|(label, value)| series.labels.get(*label).is_some_and(|has| has == value))
        };
        self.series.iter().filter(wanted).fold(0.0, |sum, series| sum + series.value)
    }

    /// [`sum`](Self::sum) of a counter.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum = self.sum(name, labels);
        assert!(sum >= 0.0 && sum.fract() == 0.0, "{name} is a count, not {sum}");
        format!("{sum:.0}").parse().expect("a whole number")
    }

    /// How many packets were dropped for this reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.count("orthrus_radius_dropped_total", &[("reason", reason)])
    }

    /// How many requests ended in this way: accept, reject, challenge, silence.
    pub fn ended(&self, result: &str) -> u64 {
        self.count("orthrus_sign_ins_total", &[("result", result)])
    }

    /// How many requests ended in a reject or in silence for this reason.
    pub fn refused(&self, reason: &str) -> u64 {
        self.count("orthrus_sign_ins_total", &[("reason", reason)])
    }

    /// As scraped.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn series(line: &str) -> Series {
    let (name_and_labels, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let Some((name, labels)) = name_and_labels.split_once('{') else {
        return Series { name: name_and_labels.to_owned(), labels: BTreeMap::new(), value };
    };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("open braces: {line}"));
    let labels = labels.strip_suffix('"').unwrap_or_else(|| panic!("no label: {line}"));
    let pairs = labels.split("\",").map(|pair| {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        (label.to_owned(), value.to_owned())
    });
    Series { name: name.to_owned(), labels: pairs.collect(), value }
}

/// GETs a path; the status and the body.
///
/// # Errors
///
/// Nobody answers there.
pub fn get(server: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    ask(server, &format!("GET {path}"), "", "")
}

/// Asks with a method and a path, more lines of the head, each with its end, and a body.
///
/// # Errors
///
/// As [`get`].
pub fn ask(server: SocketAddr, what: &str, head: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&server, crate::PATIENCE)?;
    stream.set_read_timeout(Some(crate::PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{what} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let fault = || io::Error::other(format!("not HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(fault)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(fault)?;
    // A body of unknown length comes in chunks; all of ours have one.
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_name_and_labels() {
        let metrics = Metrics::parse(
            "# HELP a A.\n# TYPE a counter\na{x=\"1\",y=\"p q\"} 2\na{x=\"2\",y=\"p q\"} 3\nb 0.5\nc{z=\"\"} 7\n",
        );
        assert_eq!(metrics.count("a", &[("y", "p q")]), 5);
        assert_eq!(metrics.count("a", &[("x", "2")]), 3);
        assert_eq!(metrics.count("a", &[("x", "3")]), 0);
        assert_eq!(metrics.count("c", &[("z", "")]), 7);
        assert!((metrics.sum("b", &[]) - 0.5).abs() < f64::EPSILON);
    }
}
