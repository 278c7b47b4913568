// Settings of SabER itself (docs/model.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_schema.h"

namespace saber {

struct ModelSettings {
  std::string kind = "saber";                                                  // saber | plain | id_table
  std::string gate = "vector";                                                 // fusion: vector | scalar | none
  std::string mask = "relevance";                                              // relevance | paper | none
  std::string query_token = "task";                                            // task | plain: the query's token
  std::vector<std::string> guider_inputs = {"image", "query", "instruction"};  // of g0; "random": a learned vector
  bool guider_update = true;
  bool head_reads_guider = true;
  std::string head_start = "similarity";            // similarity | random
  std::string demonstration_text = "query_result";  // query_result | query: the text of a demonstration
  double mask_sparsity = 0;                         // lambda_1
  double guider_penalty = 0;                        // lambda_2
  std::int64_t width = 128;                         // d
  std::int64_t blocks = 2;                          // L
  std::int64_t heads = 4;                           // H
  std::int64_t max_shots = 8;                       // learned positions
  std::string head = "replicated";                  // replicated | sharded: who holds the library
  std::int64_t max_logit_mib = 256;                 // of one chunk of logits

  void declare(Schema& schema);
};

// Widths of the embeddings that a model was built for.
struct EmbeddingWidths {
  std::int64_t image = 0;    // D_I
  std::int64_t text = 0;     // D_T
  std::int64_t library = 0;  // K; of an id_table, which has a vector for each library row
};

}  // namespace saber
