//! The page: what the template needs, from runs.
//!
//! It must never name anything outside the page: no script, no font, no picture from elsewhere.

use std::collections::BTreeSet;

use askama::Template;

use super::chart::{self, Axes, Chart, Line, STYLES};
use super::facts::Fact;
use super::format;
use super::latency::Percentiles;
use super::run::Run;
use super::series::{Series, Unit};
use crate::failure::Failure;

/// Where a line goes.
type Points = Vec<(f64, f64)>;

/// Drawings of plain numbers over time at most: each has one of its own.
const COUNTS_MAX: usize = 12;

/// A table whose columns are the runs.
#[derive(Debug, Default)]
struct Comparison {
    rows: Vec<ComparisonRow>,
}

#[derive(Debug)]
struct ComparisonRow {
    label: String,
    cells: Vec<String>,
    /// Not all runs have the same.
    differs: bool,
}

/// Percentiles of everything that was timed.
#[derive(Debug)]
struct PercentileTable {
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// A drawing in the page.
#[derive(Debug)]
struct Figure {
    title: String,
    legend: Vec<(usize, String)>,
    svg: String,
}

/// The template's fields.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    runs: &'a [Run],
    conditions: Comparison,
    summary: Comparison,
    percentiles: PercentileTable,
    over_time: Vec<Figure>,
    latency: Vec<Figure>,
    version: &'static str,
}

impl Page<'_> {
    fn is_comparison(&self) -> bool {
        self.runs.len() > 1
    }
}

/// The page of these runs.
///
/// # Errors
/// [`Failure::Run`] when a drawing can't be made.
pub(super) fn page(title: Option<&str>, runs: &[Run]) -> Result<String, Failure> {
    let page = Page {
        title: title.map_or_else(|| title_of(runs), str::to_owned),
        runs,
        conditions: comparison(runs, |run| &run.conditions),
        summary: comparison(runs, |run| &run.summary),
        percentiles: percentiles(runs),
        over_time: figures(&over_time(runs))?,
        latency: figures(&latency(runs))?,
        version: env!("CARGO_PKG_VERSION"),
    };
    page.render()
        // The template's last line ends without its line feed.
        .map(|html| {
            html + "
"
        })
        .map_err(|error| Failure::Run(format!("cannot make the page: {error}")))
}

fn title_of(runs: &[Run]) -> String {
    let name = |run: &Run| match &run.link {
        Some(link) => format!("syncline {} over {link}", run.kind),
        None => format!("syncline {}", run.kind),
    };
    let names: BTreeSet<String> = runs.iter().map(name).collect();
    names.into_iter().collect::<Vec<_>>().join("; ")
}

/// Facts of all runs side by side, in the order in which they come.
fn comparison(runs: &[Run], facts: impl Fn(&Run) -> &Vec<Fact>) -> Comparison {
    let mut labels: Vec<&str> = Vec::new();
    for fact in runs.iter().flat_map(&facts) {
        if !labels.contains(&fact.label) {
            labels.push(fact.label);
        }
    }
    let row = |label: &str| {
        let value = |run: &Run| {
            let found = facts(run).iter().find(|fact| fact.label == label);
            found.map(|fact| fact.value.clone()).unwrap_or_default()
        };
        comparison_row(label.to_owned(), runs.iter().map(value).collect())
    };
    Comparison {
        rows: labels.into_iter().map(row).collect(),
    }
}

fn comparison_row(label: String, cells: Vec<String>) -> ComparisonRow {
    let differs = cells.windows(2).any(|pair| pair[0] != pair[1]);
    ComparisonRow {
        label,
        cells,
        differs,
    }
}

/// All percentiles: a row for each thing that was timed and each run, a column for each quantile.
fn percentiles(runs: &[Run]) -> PercentileTable {
    let sets = || {
        runs.iter()
            .flat_map(|run| run.percentiles.iter().map(move |set| (run, set)))
    };
    let mut names: Vec<&str> = Vec::new();
    let mut quantiles: Vec<f64> = Vec::new();
    for (_, set) in sets() {
        if !names.contains(&set.name.as_str()) {
            names.push(&set.name);
        }
        quantiles.extend(set.points.iter().map(|point| point.0));
    }
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup();
    let row = |(run, set): (&Run, &Percentiles)| {
        let cell = |quantile: &f64| {
            let point = set.points.iter().find(|point| point.0 == *quantile);
            point.map_or_else(String::new, |point| {
                let sign = if set.at_least.contains(quantile) {
                    "≥ "
                } else {
                    ""
                };
                format!("{sign}{}", format::time_us(point.1))
            })
        };
        let mut cells: Vec<String> = quantiles.iter().map(cell).collect();
        cells.push(set.samples.map_or_else(String::new, format::count));
        let label = match runs.len() {
            1 => capital(&set.name),
            _ => format!("{}, {}", capital(&set.name), run.name),
        };
        (label, cells)
    };
    let of_name = |name: &&str| {
        sets()
            .filter(|(_, set)| set.name == **name)
            .map(row)
            .collect::<Vec<_>>()
    };
    let mut columns: Vec<String> = quantiles.iter().map(|q| format::quantile(*q)).collect();
    columns.push("samples".into());
    PercentileTable {
        columns,
        rows: names.iter().flat_map(of_name).collect(),
    }
}

/// Drawings over time. Of one run all series of a unit share a drawing; of several each series has its own, with a line for each run.
fn over_time(runs: &[Run]) -> Vec<Chart> {
    let mut charts = Vec::new();
    let units = [
        (Unit::PerSecond, "Rates, per second", Axes::TimeAndNumber),
        (
            Unit::Microseconds,
            "Latency over time",
            Axes::TimeAndLatency,
        ),
        (Unit::Share, "Shares of time", Axes::TimeAndShare),
    ];
    for (unit, title, axes) in units {
        if let [run] = runs {
            let of_unit: Vec<&Series> = run.series.iter().filter(|s| s.unit == unit).collect();
            for part in of_unit.chunks(STYLES) {
                let line = |(style, series): (usize, &&Series)| Line {
                    name: series.name.clone(),
                    style,
                    points: series.points.clone(),
                };
                charts.push(Chart {
                    title: title.to_owned(),
                    axes,
                    is_named: false,
                    lines: part.iter().enumerate().map(line).collect(),
                });
            }
        } else {
            charts.extend(by_name(runs, unit, axes));
        }
    }
    let counts = by_name(runs, Unit::Count, Axes::TimeAndNumber);
    charts.extend(counts.into_iter().take(COUNTS_MAX));
    charts
}

/// A drawing for each series of a unit, with a line for each run.
fn by_name(runs: &[Run], unit: Unit, axes: Axes) -> Vec<Chart> {
    let all = runs.iter().flat_map(|run| &run.series);
    let names: BTreeSet<&str> = all
        .filter(|s| s.unit == unit)
        .map(|s| s.name.as_str())
        .collect();
    let chart = |name: &str| {
        let line = |(style, run): (usize, &Run)| {
            let series = run
                .series
                .iter()
                .find(|s| s.unit == unit && s.name == name)?;
            Some(Line {
                name: run.name.clone(),
                style,
                points: series.points.clone(),
            })
        };
        let mut title = capital(name);
        if unit == Unit::PerSecond {
            title += ", per second";
        }
        Chart {
            title,
            axes,
            is_named: true,
            lines: runs.iter().enumerate().filter_map(line).collect(),
        }
    };
    names.into_iter().map(chart).collect()
}

/// Percentile curves and histograms.
fn latency(runs: &[Run]) -> Vec<Chart> {
    let mut curves = Vec::new();
    let mut histograms = Vec::new();
    for run in runs {
        let name = |of: &str| match runs.len() {
            1 => of.to_owned(),
            _ => format!("{}: {of}", run.name),
        };
        for set in run.percentiles.iter().filter(|set| set.points.len() >= 3) {
            curves.push((name(&set.name), nines(&set.points)));
        }
        for histogram in &run.histograms {
            // A step from each bucket to the next.
            let step = |&(from, to, n): &(f64, f64, f64)| [(from, n), (to, n)];
            let points = histogram.buckets.iter().flat_map(step).collect();
            histograms.push((name(&histogram.name), points));
        }
    }
    let mut charts = Vec::new();
    for (title, axes, lines) in [
        ("Latency by percentile", Axes::NinesAndLatency, curves),
        ("Latency histogram", Axes::LatencyAndCount, histograms),
    ] {
        for part in lines.chunks(STYLES) {
            let line = |(style, (name, points)): (usize, &(String, Points))| Line {
                name: name.clone(),
                style,
                points: points.clone(),
            };
            charts.push(Chart {
                title: title.to_owned(),
                axes,
                is_named: false,
                lines: part.iter().enumerate().map(line).collect(),
            });
        }
    }
    charts
}

/// Quantiles as 1 / (1 - q). The largest has no such place, and stands in the table alone.
fn nines(points: &[(f64, f64)]) -> Points {
    let inner = points.iter().filter(|point| point.0 < 1.0);
    inner.map(|&(q, us)| (1.0 / (1.0 - q), us)).collect()
}

/// Draws those in which there is something.
fn figures(charts: &[Chart]) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for chart in charts {
        if let Some(svg) = chart::svg(chart)? {
            let legend = chart
                .lines
                .iter()
                .map(|line| (line.style, line.name.clone()));
            figures.push(Figure {
                title: chart.title.clone(),
                // A title names a single line already.
                legend: legend
                    .filter(|_| chart.lines.len() > 1 || !chart.is_named)
                    .collect(),
                svg,
            });
        }
    }
    Ok(figures)
}

/// With a capital letter at its front, unless it is the name of a quantile such as `p99`.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .filter(|_| !chars.as_str().starts_with(|c: char| c.is_ascii_digit()));
    match first {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => text.to_owned(),
    }
}

/// A count as the template writes it.
fn counted(n: &u64) -> String {
    format::count(*n as f64)
}
