//! The status page: one file of HTML without scripts, which the browser reloads by itself.

use std::fmt::Write as _;

use super::Section;

/// Seconds between two reloads.
const RELOAD_S: u32 = 2;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#d9dde3;--soft:#5b6472;--good:#157347;--bad:#b02a37}
@media(prefers-color-scheme:dark){:root{--line:#343a43;--soft:#9aa4b2;--good:#4bbf86;--bad:#f0808a}}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1rem;margin:0 0 .5rem}
.state{margin:0 0 1.75rem;color:var(--good)}.state.bad{color:var(--bad)}
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(19rem,1fr));gap:1.75rem 2.5rem}
table{width:100%;border-collapse:collapse}td{padding:.3rem 0;border-top:1px solid var(--line);vertical-align:top}
td:first-child{color:var(--soft);padding-right:1rem}
td:last-child{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
footer{margin-top:2rem;color:var(--soft)}a{color:inherit}";

pub(super) fn render(title: &str, not_ready: &[String], sections: &[Section]) -> String {
    let mut out = String::with_capacity(4096);
    let title = escape(title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" \
         content=\"{RELOAD_S}\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>"
    );
    if not_ready.is_empty() {
        out.push_str("<p class=\"state\">ready</p>");
    }
    for reason in not_ready {
        let _ = write!(out, "<p class=\"state bad\">not ready: {}</p>", escape(reason));
    }
    out.push_str("<main>");
    for section in sections {
        let _ = write!(out, "<section><h2>{}</h2><table>", escape(&section.title));
        for (name, value) in &section.rows {
            let _ = write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
        }
        out.push_str("</table></section>");
    }
    out.push_str(
        "</main><footer><a href=\"/metrics\">metrics</a> · <a href=\"/readyz\">readyz</a></footer></body></html>\n",
    );
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let section = Section::new("<script>").row("\"'&", "</table>");
        let page = render("<b>", &["<i>".into()], &[section]);
        for raw in ["<script>", "\"'&", "<b>", "<i>"] {
            assert!(!page.contains(raw), "{raw}");
        }
        assert!(page.contains("<td>&quot;&#39;&amp;</td><td>&lt;/table&gt;</td>"));
    }
}
