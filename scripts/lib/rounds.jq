# For scripts/bench: figures of several rounds, and rows of the table that shows them.

def median: sort | (length / 2 | floor) as $half | if length % 2 == 1 then .[$half] else (.[$half - 1] + .[$half]) / 2 end;

# Three digits behind the point, of the figure and of its millions.
def digits: . * 1000 | round / 1000;
def millions: . / 1e3 | round / 1000;

# One figure of each round.
def all($key): map(.[$key]);
def spread($key): all($key) | [min, max];

# What one thing had to reach beside another: the median of the rounds' `ratio`, and whether it is `$wanted`.
def verdict($wanted): (all("ratio") | median) as $ratio
    | { ratio: ($ratio | digits), verdict: (if $ratio >= $wanted then "reached" else "missed" end) };

# A row of the table: a figure in words, and its spread.
def line($what; $value; $spread; $unit): [$what, "\($value)\($unit)", "\($spread[0]) to \($spread[1])"] | @tsv;
