// Package spelling finds the name that somebody probably meant. It stands
// beside the commands, for their flags and subcommands, and knows neither.
package spelling

import "strings"

// farthest is how many letters may be wrong in a name that is suggested.
const farthest = 3

// Nearest returns the name that word is most like, "" if it is like none.
func Nearest(word string, names []string) string {
	best, found := farthest+1, ""
	for _, name := range names {
		d := distance(word, name)
		if strings.HasPrefix(name, word) && word != "" {
			d = min(d, 1)
		}
		if d < best && d < max(len(word), len(name)) {
			best, found = d, name
		}
	}
	return found
}

// distance is the number of letters to insert, delete or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
