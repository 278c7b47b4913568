// The rows of the table that `saber eval` makes: which there are, and what each shows the LVLM for a query.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/run_selector.h"
#include "launch/selections_file.h"
#include "launch/settings.h"
#include "trainer/reward/scorer.h"

namespace saber {

// In the order of the table: selections without training, methods of eval.also, eval.selections by their files' names,
// SabER, marks.
std::vector<std::string> row_names(const EvalSettings& eval);
// Whether a row of this name is there only when eval.also names it.
bool is_also(const std::string& name);
// Throws bad_input when rows are asked for that cannot be made, or share a name.
void require_possible_rows(const EvalSettings& eval, bool sharded);

// eval.selections, by the row's name. Throws bad_input as read_selections, and when a selection is missing or longer
// than the LVLM can read. rows: of the queries.
std::map<std::string, RowsByQuery> read_all_selections(const EvalSettings& eval, const EmbeddingSet& set,
                                                       const std::vector<std::int64_t>& rows, std::int64_t max_shots);

// What is shown for one query, in the order of row_names(); nothing where the LVLM failed while it was asked.
using Shown = std::vector<std::optional<DemonstrationSequence>>;

// What selections are made with, beside data and settings.
struct EvalInputs {
  const std::vector<Selection>& saber;                // of all queries
  const std::map<std::string, RowsByQuery>& brought;  // of eval.selections
  RunSelector& selector;
  const Features& features;
  Scorer& scorer;
  bool is_root;
};

// Of the queries rows[p], p in `positions`, which are this rank's. Where the library is sharded, the ranks choose for
// all queries together.
std::vector<Shown> shown_by_share(const EvalSettings& eval, const EmbeddingSet& set, c10d::ProcessGroup* sharded,
                                  const std::vector<std::int64_t>& rows, const std::vector<std::int64_t>& positions,
                                  const EvalInputs& with);

// Writes what was shown into the folder eval.save_selections, a file for each row but those of eval.selections, queries
// in order; where the LVLM failed there is no line. Collective.
void save_selections(const MpiSession& session, c10d::ProcessGroup& group, const EvalSettings& eval,
                     const EmbeddingSet& set, const std::vector<std::int64_t>& rows,
                     const std::vector<std::int64_t>& positions, const std::vector<Shown>& shown);

}  // namespace saber
