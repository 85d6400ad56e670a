"""Databases of SQLite to read: tables with rows, whose columns are those that the rows have."""

import json
import sqlite3


def write_database(path, **tables):
    """Each table is a list of rows, or a text that creates it without any."""
    connection = sqlite3.connect(path)
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        listed = ", ".join(f'"{column}"' for column in columns)
        connection.execute(f'CREATE TABLE "{name}" ({listed})')
        marks = ", ".join("?" * len(columns))
        values = [[_value(row.get(column)) for column in columns] for row in rows]
        connection.executemany(f'INSERT INTO "{name}" ({listed}) VALUES ({marks})', values)
    connection.commit()
    connection.close()
    return path


def _value(value):
    return json.dumps(value) if isinstance(value, dict | list) else value
