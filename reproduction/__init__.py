"""The papers' tables: experiments, the jobs that make them, the tables that are written."""
