// Many searches at once, as many as the LVLM can use.
#pragma once

#include <functional>
#include <memory>

#include "trainer/search/beam.h"

namespace saber {

// Asks `open` for another search whenever the scorer has room for more requests (null: there are no more), and gives
// each finished one's nodes to `finish`, in the order in which they finish. With a scorer of one slot the searches go
// one after the other. What a search wants and gets does not depend on the others. Throws not_available when the LVLM
// cannot be reached.
void advance_together(Scorer& scorer, const std::function<std::unique_ptr<SequenceSearch>()>& open,
                      const std::function<void(const QueryNodes&)>& finish);

// One search by itself.
QueryNodes run_search(Scorer& scorer, SequenceSearch&& search);

}  // namespace saber
