
// What only the report of a preview has: the estimate, and profiles side by side.
function showPreview() {
  const { lines, profiles, sampled, members: all, ofBeginning, seed } = preview;
  $("estimate-note").textContent = sampled === all
    ? "All members were cropped: these figures are exact, but for time and output."
    : ofBeginning
      ? `From its first ${number(sampled)} members, as if all others were like them. A compressed TAR can only be ` +
        "read from its start, so nothing is known of the others, and there are no intervals."
      : `From ${number(sampled)} of ${number(all)} members: one at random of each of ${number(sampled)} equal parts of ` +
        `the archive (seed ${seed}). Nothing was read of the others.`;
  $("estimate-notes").append(...data.notes.map((line) => make("li", {}, `${line}.`)));
  $("estimate-caption").textContent = ofBeginning
    ? "Estimates, without intervals"
    : "In 95 of 100 samples the interval holds what all members would come to";
  $("estimate-body").append(...lines.map(([label, value, bounds]) => make("tr", {},
    make("th", { scope: "row", ...(label.startsWith("  ") ? { class: "part" } : {}) },
      label.startsWith("  ") ? make("code", {}, label.trim()) : label),
    make("td", { class: "number" }, value), make("td", { class: "number" }, bounds))));
  $("profiles").hidden = !profiles.length;
  if (!profiles.length) return;
  const [heads, ...rows] = profiles;
  $("profiles-head").append(...heads.map((text, place) =>
    make("th", { scope: "col", ...(place ? { class: "number" } : {}) }, text[0].toUpperCase() + text.slice(1))));
  $("profiles-body").append(...rows.map(([profile, ...figures]) => make("tr", {},
    make("th", { scope: "row" }, make("code", {}, profile)),
    ...figures.map((text) => make("td", { class: "number" }, text)))));
  const { differences, disagreements } = preview;
  $("differences-note").textContent = !disagreements
    ? "None: on this sample all of them find the same faces."
    : (differences.length < disagreements ? `${number(differences.length)} of ` : "") +
      `${many(disagreements, "face", "faces")} of the sample, found by some and not by others. Each picture shows the ` +
      "face, framed, as the first profile that finds it sees it.";
  new Listing("differences", "differences-more", 36, "faces", differenceItem).show(differences);
}

function differenceItem(one) {
  const missed = preview.profiles.slice(1).map(([name]) => name).filter((name) => !one.found.includes(name));
  const [x, y, width, height] = one.box;
  const what = [
    one.score === null ? "no score" : `score ${one.score.toFixed(2)}`, `${number(one.pixels)} px`,
    ...(one.page === null ? [] : [`page ${one.page + 1}`]),
  ].join(", ");
  return make("li", { class: "card difference", tabindex: "-1" },
    make("div", { class: "framed" },
      make("img", { src: `data:image/jpeg;base64,${one.picture}`, alt: `Face in ${one.path}, ${what}`, width: 240, height: 240, decoding: "async" }),
      make("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
        make("rect", { x, y, width, height, class: "under" }), make("rect", { x, y, width, height }))),
    make("p", {}, make("b", {}, one.found.join(", ")), ` ${one.found.length === 1 ? "finds" : "find"} it`),
    make("p", {}, `not ${missed.join(", ")}`),
    make("p", { class: "quiet path" }, `${what}, ${one.path}`));
}

showPreview();
