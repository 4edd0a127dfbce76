
// Photographs, made small, each with the boxes of all faces that were found in it.
function showPhotographs() {
  const { shown, unread } = data.photographs;
  $("photographs-note").textContent = (shown.length
    ? `${many(shown.length, "photograph", "photographs")}, evenly spread over the batch: with the boxes of all faces ` +
      "that were found in each, and some in which none was. What has no box was not found."
    : "No image of this batch was read.") +
    (unread ? ` ${many(unread, "more was", "more were")} chosen, and could not be read again as the batch had read ` +
      `${unread === 1 ? "it" : "them"}.` : "");
  new Listing("photographs", "photographs-more", 24, "photographs", photographItem).show(shown);
}

function photographItem(one) {
  const [x, y, width, height] = one.inside;
  const found = one.faces.length ? many(one.faces.length, "face", "faces") : "no face was found";
  const picture = make("svg", { viewBox: `${x} ${y} ${width} ${height}`, role: "img", "aria-label": `${one.path}: ${found}` },
    make("image", { href: `data:image/jpeg;base64,${one.picture}`, x: 0, y: 0 }));
  for (const face of one.faces) {
    const [left, top, wide, tall] = face.box;
    const box = { x: left, y: top, width: wide, height: tall };
    picture.append(make("rect", { ...box, class: "under" }),
      make("rect", box, make("title", {}, face.score === null ? "No score" : `Score ${face.score.toFixed(3)}`)));
  }
  return make("li", { class: "card photograph", tabindex: "-1" },
    make("div", { class: "boxed" }, picture),
    make("p", {}, make("b", {}, found), `, ${number(one.size[0])} × ${number(one.size[1])} px`),
    make("p", { class: "quiet path" }, one.path));
}

showPhotographs();
