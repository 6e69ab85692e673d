"""Import of uploaded tables: text, JSON lines and Excel workbooks, as people have them.

An upload is kept in parts in the database (`uploaded_file`). `tables` opens it as rows of cells,
`cells` has the pure rules for numbers, stamps and headings, and `preview` shows the first rows as
`options` have them understood. A worker then splits the file into blocks, checks each (`checking`) and stores
it (`work`); `runs` is the life of that work. What a block stored is recorded (`stored_rows`), so that it can
be taken back.
"""
