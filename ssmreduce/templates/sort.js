for (const head of document.querySelectorAll("table.rows thead th")) {
  head.tabIndex = 0;
  head.title = "sort by this column";
  const sort = () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.v;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x !== undefined && y !== undefined) return (x - y) * (down ? -1 : 1);
      if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
      return a.cells[column].textContent.localeCompare(b.cells[column].textContent) * (down ? -1 : 1);
    };
    body.classList.add("sorted");
    body.append(...[...body.rows].sort(compare));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
}
