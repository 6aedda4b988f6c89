//! Drawings as SVG: lines over time, percentiles, histograms. The library lays out axes and ticks; colours are classes, so that the
//! page's style sheet gives them, by light and by dark.
//!
//! It must never tell two lines apart by colour alone: each style has a dash pattern of its own.

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::format;
use crate::failure::Failure;

/// Line styles that the style sheet knows: `s0` to `s5`.
pub(super) const STYLES: usize = 6;
/// Width and height of a drawing, in its own units.
const SIZE: (u32, u32) = (720, 280);
/// Colours that no drawing has: they are replaced by classes.
const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(1, 2, 4);

/// The contents of a drawing.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// The title.
    pub(super) title: String,
    /// The axes.
    pub(super) axes: Axes,
    /// Its title says what a single line shows.
    pub(super) is_named: bool,
    /// Its lines.
    pub(super) lines: Vec<Line>,
}

/// The axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axes {
    /// Seconds; a number from 0.
    TimeAndNumber,
    /// Seconds; a time in µs, by powers of ten.
    TimeAndLatency,
    /// Seconds; a share of a whole.
    TimeAndShare,
    /// Nines (1 / (1 - quantile)), and a time in µs, both by powers of ten.
    NinesAndLatency,
    /// A time in µs and how often it was taken, both by powers of ten.
    LatencyAndCount,
}

/// A line of a drawing.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its contents.
    pub(super) name: String,
    /// Its style, below [`STYLES`].
    pub(super) style: usize,
    /// Where it goes.
    pub(super) points: Vec<(f64, f64)>,
}

/// A drawing as SVG; `None` when there is nothing to draw.
///
/// # Errors
/// [`Failure::Run`] when the drawing can't be made, which no input is known to cause.
pub(super) fn svg(chart: &Chart) -> Result<Option<String>, Failure> {
    let is_log = |axis_is_log: bool, n: f64| !axis_is_log || n > 0.0;
    let (log_x, log_y) = chart.axes.are_log();
    let points = chart.lines.iter().flat_map(|line| &line.points);
    let drawn: Vec<(f64, f64)> = points
        .copied()
        .filter(|&(x, y)| is_log(log_x, x) && is_log(log_y, y))
        .collect();
    let (Some(x), Some(y)) = (
        span(drawn.iter().map(|point| point.0), log_x),
        span(drawn.iter().map(|point| point.1), log_y),
    ) else {
        return Ok(None);
    };
    let mut text = String::new();
    let result = match (log_x, log_y) {
        (false, false) => draw(&mut text, chart, x, 0.0..y.end),
        (false, true) => draw(&mut text, chart, x, y.log_scale()),
        (true, false) => draw(&mut text, chart, x.log_scale(), 0.0..y.end),
        (true, true) => draw(&mut text, chart, x.log_scale(), y.log_scale()),
    };
    match result {
        Ok(()) => Ok(Some(with_classes(&text, &chart.title))),
        Err(error) => Err(Failure::Run(format!(
            "cannot draw `{}`: {error}",
            chart.title
        ))),
    }
}

impl Axes {
    const fn are_log(self) -> (bool, bool) {
        match self {
            Self::TimeAndNumber | Self::TimeAndShare => (false, false),
            Self::TimeAndLatency => (false, true),
            Self::NinesAndLatency | Self::LatencyAndCount => (true, true),
        }
    }

    fn x_label(self, x: f64) -> String {
        match self {
            Self::NinesAndLatency => format::quantile(1.0 - 1.0 / x.max(1.0)),
            Self::LatencyAndCount => format::time_us(x),
            _ => format!("{} s", format::count((x * 100.0).round() / 100.0)),
        }
    }

    fn y_label(self, y: f64) -> String {
        match self {
            Self::TimeAndNumber | Self::LatencyAndCount => format::si(y),
            Self::TimeAndShare => format::percent(y),
            Self::TimeAndLatency | Self::NinesAndLatency => format::time_us(y),
        }
    }

    /// Whether the area below lines is filled.
    const fn is_filled(self) -> bool {
        matches!(self, Self::LatencyAndCount)
    }
}

/// From the least to the largest, with some room; of powers of ten whole ones.
fn span(numbers: impl Iterator<Item = f64> + Clone, is_log: bool) -> Option<Range<f64>> {
    let least = numbers.clone().reduce(f64::min)?;
    let largest = numbers.reduce(f64::max)?;
    Some(if is_log {
        let (from, to) = (least.log10().floor(), largest.log10().ceil());
        10_f64.powf(from)..10_f64.powf(if to > from { to } else { from + 1.0 })
    } else if largest > least {
        least..largest + (largest - least.min(0.0)) * 0.04
    } else {
        // One point, or a flat line.
        let room = if largest == 0.0 {
            1.0
        } else {
            largest.abs() * 0.1
        };
        least - room..largest + room
    })
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw<X, Y>(text: &mut String, chart: &Chart, x: X, y: Y) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let axes = chart.axes;
    let (log_x, log_y) = axes.are_log();
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let mut context = ChartBuilder::on(&area)
        .margin(6)
        .margin_top(14)
        .margin_right(32)
        .x_label_area_size(28)
        .y_label_area_size(70)
        .build_cartesian_2d(x, y)?;
    let label = ("sans-serif", 19).into_font().color(&INK);
    context
        .configure_mesh()
        .x_labels(8)
        .y_labels(6)
        .max_light_lines(0)
        .light_line_style(GRID)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(label)
        .x_label_formatter(&|x| axes.x_label(*x))
        .y_label_formatter(&|y| axes.y_label(*y))
        .draw()?;
    let floor = context.as_coord_spec().get_y_range().start;
    for line in &chart.lines {
        let style = style(line.style);
        let is_drawn = |&&(x, y): &&(f64, f64)| (!log_x || x > 0.0) && (!log_y || y > 0.0);
        let points = line.points.iter().filter(is_drawn).copied();
        if axes.is_filled() {
            let area = AreaSeries::new(points.clone(), floor, style.mix(0.25));
            context.draw_series(area)?;
        }
        if line.points.len() == 1 {
            context.draw_series(points.map(|at| Circle::new(at, 3, style.filled())))?;
        } else {
            context.draw_series(LineSeries::new(points, style.stroke_width(2)))?;
        }
    }
    area.present()?;
    drop(context);
    drop(area);
    Ok(())
}

/// The colour that stands for a style until [`with_classes`].
fn style(index: usize) -> RGBColor {
    // Below STYLES.
    RGBColor(1, 3, (index % STYLES) as u8)
}

/// Colours become classes, and the drawing says to readers of screens what it is.
fn with_classes(text: &str, title: &str) -> String {
    let mut text = text.to_owned();
    let mut replace = |color: RGBColor, class: &str| {
        let hex = format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2);
        text = text
            .replace(&format!("stroke=\"{hex}\""), &format!("class=\"{class}\""))
            .replace(
                &format!("fill=\"{hex}\""),
                &format!("class=\"{class} fill\""),
            );
    };
    replace(INK, "ink");
    replace(GRID, "grid");
    for index in 0..STYLES {
        replace(style(index), &format!("s{index}"));
    }
    let (width, height) = SIZE;
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let open = format!("<svg role=\"img\" viewBox=\"0 0 {width} {height}\"><title>{title}</title>");
    match text
        .split_once("<svg ")
        .and_then(|(_, rest)| rest.split_once('>'))
    {
        Some((_, rest)) => open + rest,
        None => text,
    }
}
