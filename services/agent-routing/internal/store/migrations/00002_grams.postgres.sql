-- +goose Up
-- A single character is looked up as the beginning of a pair, by a range: that needs the order of code points,
-- whatever the locale of the database.
ALTER TABLE grams ALTER COLUMN gram TYPE TEXT COLLATE "C";
