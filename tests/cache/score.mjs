// Judges the results of the HTTP caching conformance suite.
//
//   node score.mjs SUITE_DIR RESULTS.json [THRESHOLDS]
//
// A test passes when its own result and those of all it depends on are `true`. Tests for browsers only are part of the
// totals, as in the suite's own figures. THRESHOLDS has lines `required N of TOTAL` and `optimal N of TOTAL`: with fewer it
// ends with status 1. Lines with another total are about another version of the suite.

import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [suite, resultsFile, thresholdsFile] = process.argv.slice(2)
// Surrogate-Control, which the package of npm has apart, is no standard
const suites = (await import(pathToFileURL(path.resolve(suite, 'tests/index.mjs')))).default
const results = JSON.parse(fs.readFileSync(resultsFile, 'utf8'))
const tests = new Map(suites.flatMap(s => s.tests.map(t => [t.id, { ...t, suite: s.id }])))
const kindOf = test => test.kind ?? 'required'

const verdicts = new Map()
function verdict (id) {
  if (!verdicts.has(id)) verdicts.set(id, judge(tests.get(id)))
  return verdicts.get(id)
}
function judge (test) {
  const result = results[test.id]
  if (result === undefined) return 'not run'
  if ((test.depends_on ?? []).some(id => verdict(id) !== 'pass')) return 'dependency'
  if (result === true) return 'pass'
  return result[0] === 'Setup' ? 'setup' : 'fail'
}

const kinds = { required: [], optimal: [], check: [] }
for (const test of tests.values()) kinds[kindOf(test)].push(test.id)
const passed = kind => kinds[kind].filter(id => verdict(id) === 'pass').length

for (const kind of ['required', 'optimal']) {
  for (const id of kinds[kind]) {
    const state = verdict(id)
    if (state === 'pass' || state === 'not run') continue
    const why = Array.isArray(results[id]) ? results[id][1] : ''
    console.log(`  ${state === 'fail' ? 'fails' : state} ${kind} ${id} (${tests.get(id).suite}): ${why}`)
  }
}
console.log(Object.keys(kinds).map(kind => {
  const skipped = kinds[kind].filter(id => verdict(id) === 'not run').length
  return `${kind} ${passed(kind)}/${kinds[kind].length}${skipped ? ` (${skipped} not run)` : ''}`
}).join(', '))

if (thresholdsFile) {
  let judged = false
  for (const line of fs.readFileSync(thresholdsFile, 'utf8').split('\n')) {
    const [kind, least, , total] = line.split('#')[0].trim().split(/\s+/)
    if (!kind || kinds[kind].length !== Number(total)) continue
    judged = true
    const enough = passed(kind) >= Number(least)
    if (!enough) process.exitCode = 1
    console.log(`${enough ? 'ok' : 'FAIL'} conformance-${kind} (${passed(kind)} pass, at least ${least} are to)`)
  }
  if (!judged) {
    console.log('FAIL conformance: no line of the thresholds is about a suite of so many tests')
    process.exitCode = 1
  }
}
