//! `TRACEPARENT`: the caller's trace is in the timings and in the log, and not in the container.

use std::fs;

use serde_json::{Value, json};

use super::{option, spans};
use crate::harness::Bundle;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

#[test]
fn every_span_names_the_callers_trace() {
    let bundle = Bundle::new().args(["true"]);
    let (flag, path) = option(&bundle);
    bundle.run_cmd(&[&flag]).env("TRACEPARENT", &traceparent()).run().ok();
    for span in spans(&path) {
        assert_eq!(
            (&span["traceId"], &span["parentSpanId"]),
            (&json!(TRACE), &json!(PARENT)),
            "{span}"
        );
    }
}

#[test]
fn an_invalid_trace_is_ignored() {
    let bundle = Bundle::new().args(["true"]);
    let (flag, path) = option(&bundle);
    let zero = format!("00-{}-{PARENT}-01", "0".repeat(32));
    for invalid in ["", "nonsense", &zero, &traceparent().to_uppercase()] {
        bundle.run_cmd(&[&flag]).env("TRACEPARENT", invalid).run().ok();
    }
    for span in spans(&path) {
        assert!(
            span.get("traceId").is_none() && span.get("parentSpanId").is_none(),
            "{span}"
        );
    }
}

#[test]
fn the_log_names_it_in_both_formats() {
    let bundle = Bundle::new().args(["/no/such/program"]);
    let dir = bundle.dir().to_str().unwrap();
    let log = |format: &str, trace: &str| -> String {
        let path = bundle.path(&format!("log.{format}{}", trace.len()));
        let id = bundle.fresh_id();
        let words = [
            "--debug",
            "--log",
            path.to_str().unwrap(),
            "--log-format",
            format,
            "run",
            "--bundle",
            dir,
            &id,
        ];
        bundle.orlop(words).env("TRACEPARENT", trace).run().fails();
        fs::read_to_string(path).unwrap()
    };
    let text = log("json", &traceparent());
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines
            .iter()
            .any(|line| line["msg"].as_str().is_some_and(|msg| msg.starts_with("init: ")))
    );
    for line in lines {
        assert_eq!(
            (&line["traceId"], &line["parentSpanId"]),
            (&json!(TRACE), &json!(PARENT)),
            "{line}"
        );
    }
    let expected = format!(" traceId=\"{TRACE}\" parentSpanId=\"{PARENT}\"");
    let text = log("text", &traceparent());
    assert!(text.lines().all(|line| line.contains(&expected)), "{text}");
    assert!(!log("text", "").contains("traceId"));
}

#[test]
fn neither_the_program_nor_a_hook_gets_it() {
    let bundle = Bundle::new();
    let facts_of_hook = bundle.path("environment");
    let script = format!("env >{}", facts_of_hook.display());
    let bundle = bundle.with_host_hook("createRuntime", &script);
    let (flag, path) = option(&bundle);
    let run = bundle
        .run_cmd(&[&flag])
        .env("TRACEPARENT", &traceparent())
        .env("ORLOP_TIMINGS", path.to_str().unwrap())
        .run()
        .ok();
    let hook = fs::read_to_string(facts_of_hook).unwrap();
    for text in [run.stdout, hook] {
        assert!(
            !text.contains("TRACEPARENT") && !text.contains("ORLOP_TIMINGS"),
            "{text}"
        );
    }
}
