//! The result of a journey, and its form as CloudWatch metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use shared::Time;

/// A step that succeeded.
#[derive(Clone, Debug)]
pub struct Step {
    /// The name; a step that is repeated has the same name each time.
    pub name: &'static str,
    /// The duration.
    pub duration: Duration,
}

/// The result of a journey.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The steps that succeeded, in order.
    pub steps: Vec<Step>,
    /// The step that failed and the reason; `None` if the journey passed.
    pub failure: Option<String>,
}

impl Report {
    /// Creates the report of a journey that failed before its first step.
    #[must_use]
    pub fn failed(reason: String) -> Self {
        Self { failure: Some(reason), ..Self::default() }
    }

    /// Returns the report as one line in CloudWatch's embedded metric format.
    ///
    /// The metric `Passed` is 1 or 0. Each step name is one metric, in milliseconds. Its value is
    /// an array of one number per repetition, because a JSON object has each member only once.
    /// Source: [Embedded Metric Format][emf].
    ///
    /// Lambda drops lines below the function's log level, metrics included, so the line has the
    /// highest level. Source: [Log-level filtering][filtering].
    ///
    /// [emf]: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    /// [filtering]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    #[must_use]
    pub fn to_metrics(&self, stack: &str) -> String {
        let mut metrics = vec![json!({ "Name": "Passed", "Unit": "Count" })];
        let mut line = Map::new();
        line.insert("timestamp".into(), json!(Time::now()));
        line.insert("level".into(), json!("FATAL"));
        line.insert("Stack".into(), json!(stack));
        line.insert("Passed".into(), json!(u8::from(self.failure.is_none())));
        line.insert("failure".into(), json!(self.failure));
        for step in &self.steps {
            let values = line.entry(step.name).or_insert_with(|| {
                metrics.push(json!({ "Name": step.name, "Unit": "Milliseconds" }));
                json!([])
            });
            if let Value::Array(values) = values {
                values.push(json!(step.duration.as_secs_f64() * 1e3));
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let declaration = json!({
            "Namespace": "Chat/SmokeTest",
            "Dimensions": [["Stack"]],
            "Metrics": metrics,
        });
        line.insert(
            "_aws".into(),
            json!({
                "Timestamp": u64::try_from(now.as_millis()).unwrap_or_default(),
                "CloudWatchMetrics": [declaration],
            }),
        );
        Value::Object(line).to_string()
    }
}
