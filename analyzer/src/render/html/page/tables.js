// Tables that sort by a click on a column's name; how, is kept for as long as the page is open.

const sortedBy = new Map();

// `columns` are [name, value of a row, words for the value, what it means]; `choose` is called with
// the row that was clicked. `key` names the table.
function sortableTable(key, columns, rows, choose) {
  if (!sortedBy.has(key)) sortedBy.set(key, { column: 1, rising: false });
  const host = element("table", { class: "sortable", "data-table": key });
  const draw = () => {
    const { column, rising } = sortedBy.get(key);
    const value = columns[column][1];
    const by = (a, b) => typeof value(a) === "string" ? value(a).localeCompare(value(b), "en") : (value(a) ?? -1) - (value(b) ?? -1);
    const sorted = rows.slice().sort((a, b) => (rising ? 1 : -1) * by(a, b));
    const heads = columns.map(([name, , , title], at) => {
      const direction = at !== column ? "none" : rising ? "ascending" : "descending";
      const sort = () => {
        sortedBy.set(key, { column: at, rising: at === column ? !rising : false });
        draw();
        host.querySelectorAll("th button")[at].focus();
      };
      return element("th", { "aria-sort": direction, title },
        element("button", { type: "button", "data-sort": name, click: sort }, name + { ascending: " ↑", descending: " ↓", none: "" }[direction]));
    });
    const lines = sorted.map((row) => element("tr", {
      tabindex: 0, click: () => choose(row), keydown: (event) => { if (event.key === "Enter") choose(row); },
    }, ...columns.map(([, value, words]) => element("td", {}, words(value(row))))));
    host.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines));
  };
  draw();
  return host;
}
