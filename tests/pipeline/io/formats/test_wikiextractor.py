def block(title, body):
    return f'<doc id="1" url="https://zh.wikipedia.org/wiki?curid=1" title="{title}">\n{title}\n\n{body}\n\n</doc>\n'


def outcome(rows):
    return [row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows]


def test_blocks(read_file):
    content = block("四两", "一\n二") + "\n" + block('A "b" > c', "") + block("Z", "<doc> inside the text </doc>")
    rows = read_file("wiki_00", content.encode())
    assert outcome(rows) == ["四两\n\n一\n二\n\n", 'A "b" > c\n\n\n\n', "Z\n\n<doc> inside the text </doc>\n\n"]
    assert [row["record"] for row in rows] == ["wiki_00#1", "wiki_00#2", "wiki_00#3"]


def test_blocks_without_end_and_text_outside(read_file):
    whole = block("A", "a")
    rows = read_file("wiki_01", (whole + "stray\nlines\n" + whole.replace("</doc>\n", "") + whole).encode())
    assert outcome(rows) == ["A\n\na\n\n", "unsupported_format", "truncated_stream", "A\n\na\n\n"]
    assert "block 2 from line 7" in rows[1]["detail"]
    assert outcome(read_file("wiki_01", whole.encode()[:-9])) == ["truncated_stream"]
    assert outcome(read_file("wiki_01", b"nothing of the kind\n")) == ["unsupported_format"]


def test_bad_blocks_cost_only_themselves(read_file):
    whole = block("A", "a").encode()
    content = whole + whole.replace(b"a\n", b"\xe9\n") + block("B", "word " * 300).encode() + whole
    many = block("C", "w\n" * 600).encode()
    rows = read_file("wiki_02", content + many + whole, max_record_bytes=1000)
    sound = "A\n\na\n\n"
    assert outcome(rows) == [sound, "invalid_utf8", "record_too_long", sound, "record_too_long", sound]
    assert f"byte {content.index(0xE9)} " in rows[1]["detail"]


def test_the_json_form(read_file):
    assert outcome(read_file("wiki_03", b'{"id": "1", "text": "a"}\n{"id": "2", "text": "b"}\n')) == ["a", "b"]
