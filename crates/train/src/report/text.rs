//! The page around the sections: escaping, tables, style.

use std::fmt::Write;

/// Characters of a name that are shown.
const NAME_SHOWN: usize = 80;

/// A page while it is written. All texts that it is given are escaped.
pub(super) struct Page {
    html: String,
}

impl Page {
    pub(super) fn new(title: &str, kind: &str) -> Page {
        let (title, kind) = (escaped(title), escaped(kind));
        Page {
            html: format!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
                 <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
                 <meta name=\"color-scheme\" content=\"light dark\">\n\
                 <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
                 <header><p class=\"kind\">{kind}</p><h1>{title}</h1></header>\n"
            ),
        }
    }

    pub(super) fn end(mut self) -> String {
        self.html.push_str("</main>\n</body>\n</html>\n");
        self.html
    }

    pub(super) fn section(&mut self, title: &str, write: impl FnOnce(&mut Page)) {
        let _ = write!(self.html, "<section>\n<h2>{}</h2>\n", escaped(title));
        write(self);
        self.html.push_str("</section>\n");
    }

    /// Charts side by side, as many as fit.
    pub(super) fn row(&mut self, write: impl FnOnce(&mut Page)) {
        self.html.push_str("<div class=\"row\">\n");
        write(self);
        self.html.push_str("</div>\n");
    }

    /// A chart with its title. `svg` is markup already.
    pub(super) fn figure(&mut self, title: &str, svg: &str) {
        let _ = writeln!(self.html, "<figure><figcaption>{}</figcaption>{svg}</figure>", escaped(title));
    }

    /// Big numbers with their names.
    pub(super) fn tiles(&mut self, tiles: &[(String, String)]) {
        self.html.push_str("<dl class=\"tiles\">");
        for (name, value) in tiles {
            let _ = write!(self.html, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(value));
        }
        self.html.push_str("</dl>\n");
    }

    /// Names with their values.
    pub(super) fn facts(&mut self, facts: &[(String, String)]) {
        self.html.push_str("<dl class=\"facts\">");
        for (name, value) in facts {
            let _ = write!(self.html, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
        }
        self.html.push_str("</dl>\n");
    }

    pub(super) fn list(&mut self, class: &str, items: &[String]) {
        let _ = write!(self.html, "<ul class=\"{}\">", escaped(class));
        for item in items {
            let _ = write!(self.html, "<li>{}</li>", escaped_whole(item));
        }
        self.html.push_str("</ul>\n");
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p>{}</p>", escaped_whole(text));
    }

    /// The first column holds names; others are numbers where they look like ones. `marked` is a row that stands out.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>], marked: Option<usize>) {
        self.html.push_str("<div class=\"scroll\"><table><thead><tr>");
        for name in head {
            let _ = write!(self.html, "<th>{}</th>", escaped(name));
        }
        self.html.push_str("</tr></thead><tbody>");
        for (index, row) in rows.iter().enumerate() {
            self.html.push_str(if marked == Some(index) { "<tr class=\"marked\">" } else { "<tr>" });
            for cell in row {
                let is_number = cell.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '−');
                let class = if is_number { " class=\"number\"" } else { "" };
                let _ = write!(self.html, "<td{class}>{}</td>", escaped(cell));
            }
            self.html.push_str("</tr>");
        }
        self.html.push_str("</tbody></table></div>\n");
    }
}

/// A text that can stand anywhere in HTML, cut where it is long.
pub(super) fn escaped(text: &str) -> String {
    let mut cut: String = text.chars().take(NAME_SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    escaped_whole(&cut)
}

/// Characters that would change how the ones after them are shown are replaced too.
fn escaped_whole(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => escaped.push('\u{fffd}'),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// A number with four digits that matter.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    if value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    let digits = if size >= 1000.0 {
        1
    } else if size >= 100.0 {
        2
    } else if size >= 10.0 {
        3
    } else {
        4
    };
    format!("{value:.digits$}")
}

const STYLE: &str = "
:root{--page:#f6f7f9;--card:#fff;--ink:#1a2230;--soft:#5d6778;--line:#e1e5eb;--grid:#edf0f4;--mark:#eef4ff;--warn:#8a5a00;--warn-page:#fff6e0;
--c0:#2563eb;--c1:#e0651a;--c2:#0f9d74;--c3:#b4309c;--c4:#b58a00;--c5:#5b6b8c;--c6:#d13a4a;--c7:#0891b2}
@media(prefers-color-scheme:dark){:root{--page:#10141b;--card:#181e28;--ink:#e6eaf1;--soft:#98a3b5;--line:#2b3442;--grid:#222a36;--mark:#1b2a45;--warn:#f2c46d;--warn-page:#2c2412;
--c0:#6ea0ff;--c1:#ff9657;--c2:#3fcf9f;--c3:#e27dcf;--c4:#e0b93a;--c5:#9fb0d0;--c6:#ff7d8a;--c7:#4cc9e6}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
header{margin:0 4px 20px}h1{font-size:28px;line-height:1.2;margin:2px 0;overflow-wrap:anywhere}.kind{margin:0;color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 22px 20px;margin:0 0 18px}
h2{font-size:17px;margin:0 0 12px}h3{font-size:14px;margin:18px 0 8px;color:var(--soft)}p{margin:8px 0;color:var(--soft)}
.row{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:18px}
figure{margin:0;min-width:0}figcaption{font-size:13px;font-weight:600;margin:0 0 6px;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto;max-width:620px}svg text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:var(--soft)}svg .strong{fill:var(--ink)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px;margin:0 0 16px}
.tiles div{border:1px solid var(--line);border-radius:10px;padding:10px 14px}.tiles dt{color:var(--soft);font-size:13px}.tiles dd{margin:2px 0 0;font-size:24px;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:minmax(120px,220px) 1fr;gap:4px 18px;margin:0}.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:8px 0}table{border-collapse:collapse;font-size:13.5px;min-width:50%}th{text-align:left;color:var(--soft);font-weight:600;white-space:nowrap}
th,td{padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}td{unicode-bidi:isolate;max-width:340px;overflow-wrap:anywhere}td.number{font-variant-numeric:tabular-nums;white-space:nowrap}
tr.marked td{background:var(--mark);font-weight:600}
ul.notes{list-style:none;margin:14px 0 0;padding:0}ul.notes li{background:var(--warn-page);color:var(--warn);border-radius:8px;padding:6px 12px;margin:6px 0;overflow-wrap:anywhere}
.axis{stroke:var(--line);fill:none}.grid{stroke:var(--grid);fill:none}.guide{stroke:var(--soft);stroke-dasharray:4 4;fill:none;opacity:.7}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}
.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}.f5{fill:var(--c5)}.f6{fill:var(--c6)}.f7{fill:var(--c7)}
.dot{opacity:.55}
@media print{body{background:#fff}section{break-inside:avoid}}
";
