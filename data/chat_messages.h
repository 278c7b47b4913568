// A selection as the chat messages that an LVLM is asked with (docs/prompting.md), in the format of OpenAI's chat
// completions, which vLLM, SGLang and llama.cpp take too.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "data/embedding_set.h"

namespace saber {

struct PromptStyle {
  bool multi_turn = false;  // each demonstration a user's and an assistant's message; else one user message
  bool two_phase = false;   // asks the model to recognise the task first
};

// A list of messages that ends with the user's question. shots: library rows in reading order. The query's own answer
// is not read. Pictures: /image_uri as it stands, /pixels as PNG data URIs; a row without a picture has its text only.
nlohmann::ordered_json chat_messages(const PromptStyle& style, const EmbeddingSet& queries, std::int64_t query_row,
                                     const EmbeddingSet& library, std::span<const std::int64_t> shots);

}  // namespace saber
